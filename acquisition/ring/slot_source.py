"""The protocol of a source that writes into the slots of the ring itself."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from forebay.acquisition.frames import Frame, FrameSource
from forebay.acquisition.ring.ring import FrameRing

type Receive = Callable[[Frame], Frame | None]
"""Looks at a frame whose pixels lie in a slot already, and returns the one to put into the ring, its
pixels being those of that slot; or None if the slot is to be used again."""


@runtime_checkable
class SlotSource(FrameSource, Protocol):
    """A source whose frames come into the slots of the ring without being copied.

    What is behind it writes from another process, so the ring has to be made with ``shared=True``.
    Only one of `frames` and `deliver_into` is called, and that once.
    """

    def deliver_into(self, ring: FrameRing, receive: Receive) -> None:
        """Put frames into the ring until there are no more, or the source is stopped.

        Every slot that was reserved is published or given back when it returns or raises, and the
        ring is finished.

        Parameters
        ----------
        ring
            The ring.
        receive
            Called for each frame, in the order in which they come.
        """
