"""The names that Dask keeps of what has passed through a process."""

from dask.utils import key_split

MOST = 1000
"""How many of them may be kept."""


def forget_names() -> None:
    """Let Dask forget the names of tasks that it has seen, once they are many.

    It keeps the last 100 000 in each process, to tell quickly of each what its first word is: some
    30 MB, and until then a process grows with every unit.
    """
    if key_split.cache_info().currsize > MOST:
        key_split.cache_clear()
