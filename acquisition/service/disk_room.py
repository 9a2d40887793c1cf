"""What a recording needs of its disk: asked before it begins, and told where that is too much."""

from pathlib import Path

from forebay.acquisition.errors import NoSpaceError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.journal.records import padded
from forebay.acquisition.journal.row import Room
from forebay.acquisition.memory.slots import stored_bytes
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sizes import size_text
from forebay.acquisition.storage.room import free_bytes, nearest_folder


def check_room(
    run: Path,
    geometry: Geometry,
    settings: AcquisitionSettings,
    *,
    frames_per_block: int,
    declared: int | None,
    known: int | None,
) -> None:
    """Refuse to begin what the disk has no room for.

    Frames that are compressed may take any room, and are not counted; a journal has them as they
    are, until their blocks are committed.

    Parameters
    ----------
    run
        Folder that the run will have.
    geometry
        The layout of the frames that are recorded.
    settings
        How they are recorded.
    frames_per_block
        Frames in a block.
    declared
        Frames that will come, where somebody has said that.
    known
        The most that will come, where the source knows that.

    Raises
    ------
    NoSpaceError
        If what is declared does not fit; or with a journal, if not even the first block does.
    """
    journalled = settings.durability == "frame"
    if declared is None and not journalled:
        return
    place = nearest_folder(run.parent)
    free = free_bytes(place)
    block = frames_per_block if known is None else min(known, frames_per_block)
    frames = block if declared is None else declared
    needed = frames * stored_bytes(geometry) if settings.compression == "none" else 0
    needs = [size_text(needed)] if needed else []
    if journalled:
        in_flight = min(frames, settings.blocks_in_flight * frames_per_block)
        segment = Room().fitted(geometry, free=free, expected=known).segment_bytes
        # One that is not full, and one that is made beforehand, are more than the frames need.
        copies = in_flight * padded(geometry.frame_bytes) + 2 * segment
        needed += copies
        needs.append(f"{size_text(copies)} for their journal (durability = 'frame')")
    if needed <= free:
        return
    ways = ["make room"]
    ways.append("take fewer frames" if declared is not None else "choose a lower block_bytes")
    if settings.compression == "none":
        ways.append("have them compressed or reduced")
    if journalled:
        ways.append("choose durability = 'block'")
    raise NoSpaceError(
        f"{frames} frames{'' if declared is not None else ', one block,'} need "
        f"{' and '.join(needs)}, and {place} has {size_text(free)} free: "
        f"{', '.join(ways[:-1])}, or {ways[-1]}"
    )
