"""Which work goes to a costlier cluster, and which is left to the one beside it."""

from collections.abc import Collection
from dataclasses import dataclass

from forebay.cluster.burst.rule import pays


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a costlier cluster takes."""

    lanes: tuple[str, ...]
    """Names of the lanes whose work it takes."""
    bytes_per_second: float
    """How fast data get to it."""
    threads_here: int
    """Threads of the cluster beside it."""
    data_there: tuple[str, ...] = ()
    """How locations begin whose data it reaches as fast as its own."""

    def takes(self, unit_seconds: float, unit_bytes: float, places: Collection[str]) -> bool:
        """Tell whether units are sooner there than they are computed on where they are.

        Parameters
        ----------
        unit_seconds
            How long a thread is at one.
        unit_bytes
            What each reads.
        places
            The folders or buckets in which copies of that lie.

        Examples
        --------
        >>> choice = Choice(
        ...     lanes=("reprocess",), bytes_per_second=1e6, threads_here=4, data_there=("s3://",)
        ... )
        >>> choice.takes(8.0, 1e6, ["/runs"]), choice.takes(8.0, 3e6, ["/runs"])
        (True, False)
        >>> choice.takes(8.0, 3e6, ["/runs", "s3://archive"])
        True
        """
        # Over the network a tuple becomes a list.
        begin = tuple(self.data_there)
        there = any(each.startswith(begin) for each in places)
        moved = 0.0 if there else unit_bytes
        return pays(
            unit_seconds, moved, bytes_per_second=self.bytes_per_second, here=self.threads_here
        )
