"""The names that Dask keeps of what has passed through a process."""

from typing import Any

from dask.utils import key_split

_MOST = 1000


def forget_names() -> None:
    """Let Dask forget the names of tasks that it has seen, once they are many.

    It keeps the last 100 000 in each process, to tell quickly of each what its first word is: some
    30 MB, and until then a process grows with every unit.
    """
    if key_split.cache_info().currsize > _MOST:
        key_split.cache_clear()


class SchedulerNames:
    """Lets a scheduler that runs in a process of its own forget names too.

    It learns one with each task that it is handed, of whatever cluster it is.

    Parameters
    ----------
    client
        A `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._handed = 0

    def handed(self) -> None:
        """Count a task that the scheduler was handed."""
        self._handed += 1

    async def forget(self) -> None:
        """Let the scheduler forget, once the names are many."""
        if self._handed > _MOST:
            self._handed = 0
            # It is Dask's own, so that the scheduler needs nothing of ours.
            await self._client.run_on_scheduler(key_split.cache_clear)
