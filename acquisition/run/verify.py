"""Reading a whole run through and comparing it with its log."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forebay.acquisition.arguments import check_callback, check_run
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import COORDINATES, FRAMES, METADATA
from forebay.acquisition.format.record import Block, Extent, StoredObject
from forebay.acquisition.format.shard import index_bytes
from forebay.acquisition.run.blocks import BlockArray

if TYPE_CHECKING:
    from forebay.acquisition.run.reader import Run


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a run that is not as it was committed."""

    what: str
    """What is wrong, where, in a sentence."""
    block: int | None = None
    """The block, where it concerns one."""
    extent: Extent | None = None
    """Its frames."""
    key: str | None = None
    """The object."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading a run through has found."""

    blocks: int
    """Blocks that were read."""
    bytes: int
    """Bytes that were read and compared."""
    problems: tuple[Problem, ...]
    """What is wrong."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_run(run: "Run", *, on_block: Callable[[Block], None] | None = None) -> Verification:
    """Read every object of a run and compare it with its digest, its log and its arrays.

    Parameters
    ----------
    run
        The run; what is committed after it was opened is not looked at.
    on_block
        Called after each block, to show progress.

    Returns
    -------
    Verification
        What is wrong, if anything, by block and frame; damage raises nothing.

    Raises
    ------
    ArgumentError
        If it is given no run.
    OSError
        If a file cannot be read for another reason than that it is gone.

    Notes
    -----
    What is compared: each object's length and BLAKE3 digest; each frame's own CRC-32C, so that
    the frames which a damage touches are named; the counters and times in the coordinates with
    the log's; the lengths of the arrays with the log's; the sum of committed and dropped frames
    with what the camera counted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from forebay.acquisition import acquire, open_run, verify_run
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
    ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
    ...     shard = Path(folder, "water", "frames", "c.1.0.0")
    ...     _ = shard.write_bytes(bytes(shard.stat().st_size))
    ...     found = verify_run(open_run(f"{folder}/water"))
    ...     found.ok, [problem.block for problem in found.problems]
    (False, [1])
    """
    check_run(run)
    check_callback("on_block", on_block)
    problems: list[Problem] = []
    read = 0
    blocks = run.blocks
    for block in blocks:
        found = [each for stored in block.objects for each in _check_object(run, block, stored)]
        problems += found or _check_coordinates(run, block)
        read += sum(stored.bytes for stored in block.objects)
        if on_block:
            on_block(block)
    problems += [*_check_log(run), *_check_arrays(run)]
    return Verification(len(blocks), read, tuple(problems))


def _check_object(run: "Run", block: Block, stored: StoredObject) -> list[Problem]:
    array = BlockArray(stored.key.partition("/")[0], run.layout, (block,), run.objects)
    try:
        array.whole(block, stored)
    except RunDamagedError as error:
        what = str(error)
        if array.name == FRAMES and stored.bytes > index_bytes(run.layout.frames_per_block):
            what += _damaged_frames(array, block)
        return [Problem(what, block.number, block.extent, stored.key)]
    return []


def _damaged_frames(array: BlockArray, block: Block) -> str:
    """Say which frames of a damaged shard are touched."""
    if len(block.extent) == 1:
        return ""
    damaged = []
    for position in range(len(block.extent)):
        try:
            array[position]
        except RunDamagedError:
            damaged.append(block.extent.start + position)
    if not damaged:
        return " (each frame still agrees with its own checksum)"
    if len(damaged) == len(block.extent):
        return " (no frame of it can be read)"
    return f" (damaged: frame {', '.join(str(frame) for frame in damaged)})"


def _check_coordinates(run: "Run", block: Block) -> list[Problem]:
    """Compare the counters and times of a block, whose bytes are right, with the log."""
    along = {}
    for name in COORDINATES:
        try:
            along[name] = BlockArray(name, run.layout, (block,), run.objects)[:]
        except RunDamagedError as error:
            return [Problem(str(error), block.number, block.extent)]
    wrong = []
    for name, expected in (("frame_id", block.frame_ids), ("timestamp", block.timestamps)):
        if (int(along[name][0]), int(along[name][-1])) != expected:
            wrong.append(f"{name} does not agree with the log")
    if not np.all(along["frame_id"][1:] > along["frame_id"][:-1]):
        wrong.append("the frames' counters do not go up")
    return [Problem(f"block {block.number}: {what}", block.number, block.extent) for what in wrong]


def _check_log(run: "Run") -> list[Problem]:
    history = run.history
    key = history.last_log
    if history.torn_bytes and run.writer is None:
        what = (
            f"{run.objects.where(key)}: the log ends in {history.torn_bytes} bytes that are no "
            "record: its writer died, or the end has changed; 'forebay runs close' ends it there"
        )
        return [Problem(what, key=key)]
    if closed := history.closed:
        dropped = sum(each.count for each in history.dropped)
        said = (closed.counted, closed.committed, closed.dropped_count)
        if said != (history.frames + dropped, history.frames, dropped):
            what = (
                f"{run.objects.where(key)}: the sums do not agree: {closed.counted} frames were "
                f"counted, {history.frames} are committed and {dropped} dropped"
            )
            return [Problem(what, key=key)]
    return []


def _check_arrays(run: "Run") -> list[Problem]:
    """Compare what other readers see with the log; until the run is closed, they may see less."""
    # Of a run on another machine nobody can tell whether it has a writer, unless it is closed.
    if run.writer is not None or (run.path is None and not run.closed):
        return []
    problems = []
    for key in (METADATA, *(f"{name}/{METADATA}" for name in (*COORDINATES, FRAMES))):
        content = run.objects.read(key)
        if content is None:
            problems.append(Problem(f"{run.objects.where(key)} is missing", key=key))
        elif not _says_what_the_log_says(run, key, content):
            what = f"{run.objects.where(key)} does not say what the log says"
            problems.append(Problem(what, key=key))
    return problems


def _says_what_the_log_says(run: "Run", key: str, content: bytes) -> bool:
    try:
        document = json.loads(content)
        shown = _array_in(document, key)["shape"][0]
        # A writer that died may not have shown all that it had committed.
        right = shown == run.history.frames or (shown < run.history.frames and not run.closed)
        return right and bool(document == _expected(run, key, shown))
    except (LookupError, TypeError, ValueError):
        return False


def _array_in(document: Any, key: str) -> Any:
    return document["consolidated_metadata"]["metadata"][FRAMES] if key == METADATA else document


def _expected(run: "Run", key: str, frames: int) -> dict[str, Any]:
    if key == METADATA:
        return run.layout.group_document(frames)
    return run.layout.array_documents(frames)[key.removesuffix(f"/{METADATA}")]
