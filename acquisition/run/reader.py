"""Reading a run: its frames as a lazy array over the committed blocks."""

import functools
import os
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.store import Store
from zarr.storage import LocalStore

from forebay.acquisition.arguments import check_callback, is_integer
from forebay.acquisition.errors import ExtentError, RunDamagedError, RunNotFoundError
from forebay.acquisition.format import layout
from forebay.acquisition.format.block_row import BlockRow
from forebay.acquisition.format.history import History, OnRead, replay
from forebay.acquisition.format.layout import COORDINATES, FRAMES, METADATA, RunLayout, shown_frames
from forebay.acquisition.format.objects import Objects, ObjectsAtHand
from forebay.acquisition.format.record import Block, Dropped, Extent, Noted
from forebay.acquisition.run.blocks import BlockArray
from forebay.acquisition.run.finding import find_runs, run_folder
from forebay.acquisition.run.lock import current_writer
from forebay.acquisition.run.verify import Verification, verify_run

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from zarr.core.buffer import BufferPrototype

_TOLD = 4
"""How many runs are told of a folder that was taken for one of them."""


@dataclass(frozen=True)
class Run:
    """A run as it was when it was opened: what is committed later shows after `refresh`.

    Examples
    --------
    >>> import tempfile
    >>> from forebay.acquisition import acquire, open_run
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
    ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
    ...     run = open_run(f"{folder}/water")
    ...     intensity = run.frames.mean(("y", "x"))  # nothing is read yet
    ...     intensity.compute().dims, run.name, run.closed, len(run.blocks), run.dropped
    (('t',), 'water', True, 3, ())
    """

    location: str
    """Where it is: a path or a URL."""
    layout: RunLayout
    """What all its blocks have in common."""
    objects: Objects = field(repr=False)
    """Its objects."""
    history: History = field(repr=False)
    """What its log says."""

    @property
    def name(self) -> str:
        """What the run was called when it was made."""
        return self.layout.name

    @property
    def run_id(self) -> str:
        """Identity of the run, a UUID."""
        return self.layout.run_id

    @property
    def path(self) -> Path | None:
        """Folder of the run, or None where it does not lie in this machine's file system."""
        root = getattr(self.objects.store, "root", None)
        return root if isinstance(root, Path) else None

    @property
    def blocks(self) -> Sequence[Block]:
        """The committed blocks; each is made when it is asked for, as a run may have millions."""
        return self.history.blocks.onward()

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The frames of each committed block."""
        whole = self.layout.frames_per_block
        starts = range(0, self.history.frames, whole)
        return tuple(Extent(each, min(each + whole, self.history.frames)) for each in starts)

    @property
    def closed(self) -> bool:
        """Whether the run is whole; nothing is added to a closed run."""
        return self.history.closed is not None

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """Frames that the camera counted and that the run does not hold."""
        return tuple(self.history.dropped)

    @property
    def notes(self) -> tuple[Noted, ...]:
        """What happened in the run, and what was said of it, in order."""
        return tuple(self.history.notes)

    @property
    def writer(self) -> str | None:
        """Who is writing the run on this machine now, if anybody is."""
        return None if self.path is None else current_writer(self.path / layout.LOCK)

    @functools.cached_property
    def frames(self) -> "xr.DataArray":
        """The committed frames, lazily; one Dask chunk is one block.

        The dims are (t, y, x) or (t, c, y, x).  Along ``t`` go the coordinates ``t`` (place in
        the run), ``timestamp`` (datetime64, UTC), ``frame_id`` (the camera's counter) and
        ``flags`` (see `FrameFlag`), the last three as lazy as the frames.  Computing raises
        `RunDamagedError` where what was committed is missing or has changed.
        """
        return self.frames_of(self.blocks)

    def frames_of(
        self, blocks: Sequence[Block], *, prototype: "BufferPrototype | None" = None
    ) -> "xr.DataArray":
        """Return the frames of some blocks that follow each other, lazily, as `frames` does.

        Parameters
        ----------
        blocks
            The blocks.
        prototype
            Zarr's way to the memory where frames are to be: with
            ``zarr.buffer.gpu.buffer_prototype`` a chunk is a CuPy array. Bytes are checked and
            decoded by the host before. None keeps them in its memory; coordinates are always there.

        Raises
        ------
        ExtentError
            If they are no blocks, or do not follow each other.

        Examples
        --------
        >>> import tempfile
        >>> from forebay.acquisition import acquire, open_run
        >>> from forebay.acquisition.sources import open_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
        ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
        ...     run = open_run(f"{folder}/water")
        ...     run.frames_of(run.blocks[1:]).coords["t"].values.tolist()
        [2, 3, 4]
        """
        _check_row(blocks)
        start = blocks[0].extent.start if blocks else 0
        return self._labelled(
            start, self._lazy(FRAMES, blocks, prototype), lambda name: self._lazy(name, blocks)
        )

    def read(
        self,
        blocks: Sequence[Block],
        extent: Extent,
        *,
        y: slice = slice(None),
        x: slice = slice(None),
        prototype: "BufferPrototype | None" = None,
    ) -> "xr.DataArray":
        """Read frames at once, with what `frames` has beside them.

        Parameters
        ----------
        blocks
            Blocks that follow each other and hold the frames.
        extent
            Which frames, by their places in the run.
        y, x
            Which pixels of them.
        prototype
            Zarr's way to the memory where frames are to be, as for `frames_of`.

        Raises
        ------
        ExtentError
            If the blocks do not hold the frames, or no blocks, extent and slices were given.
        RunDamagedError
            If what was committed is missing or has changed.

        Examples
        --------
        >>> import tempfile
        >>> from forebay.acquisition import acquire, Extent, open_run
        >>> from forebay.acquisition.sources import open_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
        ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
        ...     run = open_run(f"{folder}/water")
        ...     part = run.read(run.blocks, Extent(1, 4), x=slice(0, 16))
        ...     type(part.data).__name__, part.shape
        ('ndarray', (3, 48, 16))
        """
        blocks = _holding(blocks, extent, self.layout.frames_per_block)
        first = blocks[0].extent.start
        for name, along in (("y", y), ("x", x)):
            if not isinstance(along, slice):
                raise ExtentError(f"{name} is {reprlib.repr(along)}: give a slice, as slice(0, 64)")
        within = slice(extent.start - first, extent.stop - first)
        keys = [
            self.layout.object_key(name, block.number)
            for block in blocks
            for name in (*COORDINATES, FRAMES)
            # Of other blocks only some frames are wanted, which are read as ranges.
            if name != FRAMES
            or (extent.start <= block.extent.start and block.extent.stop <= extent.stop)
        ]
        objects = ObjectsAtHand.of(self.objects, keys)

        def source(name: str, prototype: "BufferPrototype | None" = None) -> BlockArray:
            return BlockArray(name, self.layout, blocks, objects, prototype)

        channels = [slice(None)] * (len(self.layout.dims) - 3)
        frames = source(FRAMES, prototype)[(within, *channels, y, x)]
        return self._labelled(extent.start, frames, lambda name: source(name)[within])

    def _labelled(
        self, start: int, frames: Any, coordinate: Callable[[str], Any]
    ) -> "xr.DataArray":
        """Return frames with their coordinates and attributes."""
        # Whoever records frames need not wait for these to be loaded.
        import xarray as xr

        coordinates: dict[str, Any] = {
            "t": ("t", np.arange(start, start + frames.shape[0])),
            **{name: ("t", coordinate(name)) for name in COORDINATES},
        }
        coordinates["timestamp"] = ("t", coordinates["timestamp"][1].view("datetime64[ns]"))
        metadata = self.layout.metadata
        if metadata.channels:
            coordinates["c"] = ("c", list(metadata.channels))
        known = {
            "pixel_size_micrometer": metadata.pixel_size and list(metadata.pixel_size),
            "exposure_seconds": metadata.exposure,
            "frame_rate_hertz": metadata.frame_rate,
        }
        attributes = {name: value for name, value in known.items() if value is not None}
        return xr.DataArray(
            frames,
            dims=self.layout.dims,
            coords=coordinates,
            name=FRAMES,
            attrs={"run": self.name, "run_id": self.run_id, **attributes},
        )

    def _lazy(
        self, name: str, blocks: Sequence[Block], prototype: "BufferPrototype | None" = None
    ) -> "da.Array":
        import dask.array as da
        from dask.base import tokenize

        source = BlockArray(name, self.layout, _kept(blocks), self.objects, prototype)
        # Only the last one of a run may be shorter.
        whole = (self.layout.frames_per_block,) * (len(blocks) - 1)
        along = (*whole, len(blocks[-1].extent)) if blocks else (0,)
        first = blocks[0].number if blocks else 0
        # Two copies of a run must not pass for one another when they are compared.
        where = None if prototype is None else prototype.nd_buffer.__qualname__
        token = tokenize(self.location, self.run_id, first, len(blocks), where)
        array: da.Array = da.from_array(  # type: ignore[no-untyped-call]
            source,
            chunks=(along, *source.shape[1:]),
            name=f"{name}-{token}",
            meta=source.empty(),
            # Dask is not to bring to the host what is elsewhere.
            asarray=prototype is None,
        )
        return array

    def verify(self, *, on_block: Callable[[Block], None] | None = None) -> Verification:
        """Read every object of the run and compare it with its digest, its log and its arrays.

        Parameters
        ----------
        on_block
            Called after each block, to show progress.

        Returns
        -------
        Verification
            What is wrong, if anything, by block and frame.

        Raises
        ------
        OSError
            If a file cannot be read for another reason than that it is gone.

        Examples
        --------
        >>> import tempfile
        >>> from forebay.acquisition import acquire, open_run
        >>> from forebay.acquisition.sources import open_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
        ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
        ...     found = open_run(f"{folder}/water").verify()
        ...     found.ok, found.blocks, found.problems
        (True, 3, ())
        """
        return verify_run(self, on_block=on_block)

    def refresh(self) -> "Run":
        """Return the run as it is now.

        Raises
        ------
        RunDamagedError
            If its log has changed in any other way than by growing.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from forebay.acquisition import Frame, Geometry, RunWriter, open_run
        >>> geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunWriter.create(f"{folder}/sample", geometry, frames_per_block=1) as writer:
        ...         before = open_run(f"{folder}/sample")
        ...         _ = writer.append(Frame(0, 0, np.zeros((4, 6), "uint16")))
        ...         len(before.blocks), len(before.refresh().blocks)
        (0, 1)
        """
        history = replay(self.objects, since=self.history)
        return Run(self.location, self.layout, self.objects, history)

    def __repr__(self) -> str:
        """Say what the run is and how far it has come."""
        state = "closed" if self.closed else "open"
        return (
            f"<Run {self.location!r}: {self.history.frames} frames in "
            f"{len(self.history.blocks)} blocks, "
            f"{state}>"
        )


def open_run(location: str | os.PathLike[str] | Store, *, on_read: OnRead | None = None) -> Run:
    """Open a run for reading, also while it is being written.

    Parameters
    ----------
    location
        The run's folder, or any Zarr store whose root is the run.
    on_read
        Called with how many bytes of its log were read and how many there are, to show progress: a
        run of weeks has millions of blocks, and each takes some 20 µs. Not for one in a bucket.

    Returns
    -------
    Run
        The run as it is now.  Its `frames` are lazy, (t, y, x) or (t, c, y, x), of the camera's
        dtype; nothing of them is read yet.

    Raises
    ------
    RunNotFoundError
        If there is no run.
    RunDamagedError
        If its metadata or its log has changed.

    Examples
    --------
    >>> import tempfile
    >>> from forebay.acquisition import acquire, open_run
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:shape=48x64,emitters=5", frames=5) as source:
    ...         _ = acquire(source, f"{folder}/water", frames_per_block=2)
    ...     run = open_run(f"{folder}/water")
    ...     run.frames.dims, run.frames.shape, str(run.frames.dtype), run.frames.chunksizes["t"]
    (('t', 'y', 'x'), (5, 48, 64), 'uint16', (2, 2, 1))
    """
    check_callback("on_read", on_read)
    if isinstance(location, Store):
        return _open(Objects(location), str(location).removeprefix("file://"), on_read)
    path = run_folder(location)
    return _open(Objects(LocalStore(path, read_only=True)), str(path), on_read)


def _holding(blocks: Any, extent: Any, whole: int) -> Sequence[Block]:
    """Return those of some blocks that hold the frames of an extent, one at the least."""
    counts = isinstance(extent, Extent) and is_integer(extent.start) and is_integer(extent.stop)
    if not (_are_blocks(blocks) and counts):
        raise ExtentError(
            f"({reprlib.repr(blocks)}, {reprlib.repr(extent)}) is not what frames are read by: "
            "give blocks of the run and an Extent of frames, as in "
            "run.read(run.blocks, Extent(0, 3)), or take run.frames[0:3]"
        )
    _check_row(blocks)
    start, stop = (blocks[0].extent.start, blocks[-1].extent.stop) if blocks else (0, 0)
    if not (blocks and start <= extent.start <= extent.stop <= stop):
        raise ExtentError(
            f"frames {extent.start} to {extent.stop} are not among the frames {start} to {stop} of "
            f"the {len(blocks)} blocks given: give the blocks that hold them"
        )
    first = min((extent.start - start) // whole, len(blocks) - 1)
    return tuple(blocks[first : max(first + 1, -(-(extent.stop - start) // whole))])


def _kept(blocks: Sequence[Block]) -> Sequence[Block]:
    """Return blocks that nobody else changes."""
    return blocks.onward() if isinstance(blocks, BlockRow) else tuple(blocks)


def _are_blocks(blocks: Any) -> bool:
    if isinstance(blocks, BlockRow):
        return True
    return isinstance(blocks, Sequence) and all(isinstance(each, Block) for each in blocks)


def _check_row(blocks: Any) -> None:
    """Refuse what are no blocks, or do not follow each other."""
    if not _are_blocks(blocks):
        raise ExtentError(
            f"{reprlib.repr(blocks)} are no blocks of the run: give some of run.blocks, as "
            "run.blocks[2:5]"
        )
    if isinstance(blocks, BlockRow):
        return
    for before, after in pairwise(blocks):
        if after.number != before.number + 1:
            raise ExtentError(
                f"block {after.number} does not follow block {before.number}: give blocks without "
                "a gap between them, as run.blocks[2:5]"
            )


def _open(objects: Objects, location: str, on_read: OnRead | None) -> Run:
    # The metadata are read before the log: they only ever follow it.
    document = objects.read(METADATA)
    if document is None or not objects.names(layout.LOG):
        raise RunNotFoundError(
            f"{location} is not a run: it has no {layout.LOG}{_runs_within(objects)}; check the "
            "name and the runs folder"
        )
    shown = shown_frames(document, where=objects.where(METADATA))
    history = replay(objects, on_read=on_read)
    if history.layout is None or shown > history.frames:
        raise RunDamagedError(
            f"{objects.where(layout.LOG)} tells of {history.frames} frames, and {shown} were "
            "committed: its end has changed or is missing; restore the log from a copy"
        )
    return Run(location, history.layout, objects, history)


def _runs_within(objects: Objects) -> str:
    """Say which runs a folder holds that is none itself."""
    root = getattr(objects.store, "root", None)
    if not isinstance(root, Path) or not os.access(root, os.R_OK):
        return ""
    within = [str(path.relative_to(root)) for path in islice(find_runs(root, depth=2), _TOLD + 1)]
    more = ", …" if len(within) > _TOLD else ""
    return f"; runs in it: {', '.join(within[:_TOLD])}{more}" if within else ""
