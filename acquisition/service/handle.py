"""What of an acquisition the control socket may do."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay.acquisition.service.acquisition import Acquisition


class AcquisitionHandle:
    """An acquisition as its control socket serves it.

    Parameters
    ----------
    acquisition
        The acquisition.
    """

    def __init__(self, acquisition: "Acquisition") -> None:
        self._acquisition = acquisition

    def status(self) -> Mapping[str, Any]:
        """Return how it is doing."""
        return dataclasses.asdict(self._acquisition.status())

    def stop(self, reason: str) -> None:
        """Begin to end."""
        self._acquisition.stop(reason)

    def start(self) -> None:
        """Begin to take frames."""
        self._acquisition.start()

    def note(self, topic: str, text: str) -> None:
        """Write down in the run what happened or what there is to say."""
        self._acquisition.note(topic, text)

    def reduce(self, level: int, seconds: float) -> None:
        """Reduce frames for some time."""
        self._acquisition.reduce(level, seconds)
