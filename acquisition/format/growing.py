"""A row that only ever grows, and that all who have seen it so far share."""

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, overload


class Growing[T](Sequence[T]):
    """Things in a row, to which more are added at the end.

    Whoever goes on from it (`onward`) has another row with the same things, and neither sees what
    is added to the other.  Both share one list as long as only one of them adds to it, so that
    going on costs the same however long the row is.  Rows that share a list may be in several
    threads.

    Parameters
    ----------
    items
        What is in it first.

    Examples
    --------
    >>> first = Growing([1, 2])
    >>> second = first.onward()
    >>> second.append(3)
    >>> list(first), list(second), second[1:], second[-1]
    ([1, 2], [1, 2, 3], [2, 3], 3)
    """

    __slots__ = ("_length", "_lock", "_shared")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._shared = list(items)
        self._length = len(self._shared)
        self._lock = threading.Lock()

    def onward(self) -> Self:
        """Return a row of its own with the same things."""
        other = type(self)()
        other._shared, other._length, other._lock = self._shared, self._length, self._lock  # noqa: SLF001 (its own)
        return other

    def append(self, item: T) -> None:
        """Add something at the end."""
        with self._lock:
            alone = len(self._shared) == self._length
            if alone:
                self._shared.append(item)
        if not alone:
            # Another one has gone on from the same things.
            self._shared, self._lock = [*self, item], threading.Lock()
        self._length += 1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return itertools.islice(self._shared, self._length)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self._shared[each] for each in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(f"there is no {place} in a row of {self._length}")
        return self._shared[place if place >= 0 else self._length + place]

    def __eq__(self, other: object) -> bool:
        """Tell whether the same things are in both."""
        if not isinstance(other, Growing):
            return NotImplemented
        same = self._shared is other._shared and self._length == other._length
        return same or (self._length == other._length and list(self) == list(other))

    __hash__ = None  # type: ignore[assignment] # as lists

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"
