"""Whether the disks last for a recording whose length is known."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.acquisition.control.running import running_acquisitions
from forebay.acquisition.errors import ControlError, NoSpaceError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.journal.records import padded
from forebay.acquisition.journal.row import Room
from forebay.acquisition.memory.slots import stored_bytes
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sizes import size_text
from forebay.acquisition.storage.room import free_bytes, nearest_folder

_log = logging.getLogger("forebay.acquisition")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Room that a recording will take."""

    place: Path
    """A folder on the file system, or where one is to be made."""
    bytes: int
    """How much it will take there, from now on."""


def check_room(
    path: Path,
    frames: int | None,
    *,
    came: Geometry,
    recorded: Geometry,
    settings: AcquisitionSettings,
    frames_per_block: int,
) -> None:
    """Refuse to begin what the disk will not last for.

    What compressed frames will take is not known: where they would not fit as they are, that is
    said, and no more.  A journal has them as they are, until their blocks are committed.

    Parameters
    ----------
    path
        Folder of the run, which need not be there.
    frames
        How many will come; None where that is not known.
    came, recorded
        Layout of the frames before and after reduction.
    settings
        How they are recorded.
    frames_per_block
        Frames in a block.

    Raises
    ------
    NoSpaceError
        If they will not fit, beside those of other recordings.  Or if it is not known how many
        will come, and not even one block fits beside its journal.
    """
    journalled = settings.durability == "frame"
    if frames is None and not journalled:
        return
    counted = frames_per_block if frames is None else frames
    wanted = [Wanted(path, counted * stored_bytes(recorded))]
    if (every := settings.reduction.keep_raw_every) is not None:
        wanted.append(Wanted(path, -(-counted // every) * stored_bytes(came)))
    journal = []
    if journalled:
        in_flight = min(counted, settings.blocks_in_flight * frames_per_block)
        journal.append(Wanted(path, _journal_bytes(path, recorded, in_flight, expected=frames)))
    packed = settings.compression != "none"
    lacking = shortage(journal if packed else [*wanted, *journal])
    if lacking is not None:
        ways = ["make room"]
        ways.append("choose a lower block_bytes" if frames is None else "take fewer frames")
        if not packed:
            ways.append("have them compressed or reduced")
        if journalled:
            ways.append("choose durability = 'block'")
        what = f"{counted} frames, one block," if frames is None else f"{counted} frames"
        what = f"{what} and their journal" if journalled else what
        raise NoSpaceError(f"{what} {lacking}: {', '.join(ways[:-1])}, or {ways[-1]}")
    if packed and (lacking := shortage([*wanted, *journal])):
        _log.warning("uncompressed, %d frames %s", counted, lacking)


def _journal_bytes(path: Path, geometry: Geometry, in_flight: int, *, expected: int | None) -> int:
    """Return what a journal takes at most: with a piece that is not full, and one made beforehand."""
    room = Room().fitted(geometry, free=free_bytes(nearest_folder(path)), expected=expected)
    return in_flight * padded(geometry.frame_bytes) + 2 * room.segment_bytes


class ToCome:
    """The frames of a recording that are not on the disk yet, where their number is known.

    Parameters
    ----------
    parts
        What the recording is made of; nothing has come yet.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._before = parts.run.committer.frames
        self._lost_before = parts.run.account.dropped

    @property
    def bytes(self) -> int | None:
        """What they will take; None where that is not known."""
        parts, run = self._parts, self._parts.run
        committed = run.committer.frames - self._before
        if parts.expected is None:
            return None
        left = max(0, parts.expected - committed - (run.account.dropped - self._lost_before))
        if parts.settings.compression != "none":
            stored = run.committer.stored_bytes
            return left * stored // committed if committed else None
        raw = 0
        if parts.raw is not None and parts.settings.reduction.keep_raw_every is not None:
            raw = stored_bytes(parts.raw.layout.geometry) // parts.settings.reduction.keep_raw_every
        return left * (stored_bytes(run.layout.geometry) + raw)

    def shortage(self) -> str | None:
        """Return what the disk lacks for them, beside other recordings; None if nothing."""
        run, to_come = self._parts.run, self.bytes
        if not to_come or run.storage.free_bytes() is None:
            return None
        return shortage([Wanted(Path(run.storage.where), to_come)], but=run.layout.run_id)


def shortage(wanted: Sequence[Wanted], *, but: str | None = None) -> str | None:
    """Return which file system has too little room, for this recording and others; None if none.

    Others are those of this user on this machine whose length is known, too.

    Parameters
    ----------
    wanted
        What this recording will take, wherever.
    but
        Identity of a run that is not counted among the others: this one.
    """
    sums: dict[int, int] = {}
    places: dict[int, Path] = {}
    for each in wanted:
        place = nearest_folder(each.place)
        device = place.stat().st_dev
        sums[device] = sums.get(device, 0) + each.bytes
        places.setdefault(device, place)
    promised = _promised(but) if sums else {}
    for device, own in sums.items():
        others, free = promised.get(device, 0), free_bytes(places[device])
        if own + others > free:
            beside = f", beside {size_text(others)} for other recordings," if others else ""
            return f"need {size_text(own)}{beside} and {places[device]} has {size_text(free)} free"
    return None


def _promised(but: str | None) -> dict[int, int]:
    """Return what other recordings will still take, by the file system."""
    found: dict[int, int] = {}
    # Without the folder of the sockets nobody can be asked.
    with contextlib.suppress(ControlError):
        for status in running_acquisitions():
            to_come = status.get("bytes_to_come")
            if to_come and status.get("run_id") != but:
                with contextlib.suppress(OSError):
                    device = Path(str(status["run"])).stat().st_dev
                    found[device] = found.get(device, 0) + int(to_come)
    return found
