"""What an acquisition will be made of: all that can fail before a run is made."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.format import layout
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.frames import (
    CountedSource,
    FrameSource,
    Geometry,
    ImageMetadata,
    check_geometry,
    check_metadata,
)
from forebay.acquisition.journal.journal import FrameJournal, Window
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue, check_spill_folder
from forebay.acquisition.journal.survey import Surveyed, sound, survey
from forebay.acquisition.memory.slots import FrameSlots, stored_bytes
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.ring.slot_source import SlotSource
from forebay.acquisition.run.reader import Run
from forebay.acquisition.run.writing.create import create_run
from forebay.acquisition.run.writing.leftovers import SPILL_TOPIC
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.flow import (
    Decimating,
    DroppingNewest,
    DroppingOldest,
    Gate,
    Holding,
    RingLevel,
    Watermarks,
)
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.service.raw_frames import RawFrames
from forebay.acquisition.service.room import check_room
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.room import free_bytes, nearest_folder

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket
    from zarr.storage import ObjectStore

    from forebay.acquisition.reduction import OverloadSteps, ReductionChain


class Plan:
    """The memory and the steps of an acquisition: all that can fail before a run is made."""

    def __init__(
        self,
        source: FrameSource,
        settings: AcquisitionSettings,
        clock: Clock,
        *,
        begun: RunLayout | None = None,
        earlier_raw: Run | None = None,
        expected: int | None = None,
    ) -> None:
        if not (hasattr(source, "geometry") and hasattr(source, "frames")):
            raise SourceError(
                f"{source!r} is no source of frames: open one with open_source, or give an object "
                "of a class of your own that is a FrameSource"
            )
        self._source = source
        self._settings = settings
        self._clock = clock
        if expected is None and isinstance(source, CountedSource):
            expected = source.expected_frames
        self._expected = expected
        self._came = _little_endian(check_geometry(source.geometry))
        check_metadata(source.metadata)
        self._chain = self._reduction()
        self.recorded = self._chain.geometry if self._chain else self._came
        self._overload = self._overload_steps()
        rate = source.metadata.frame_rate
        self._frames_per_block = settings.frames_for(self.recorded, frame_rate=rate)
        if begun is not None:
            self._frames_per_block = begun.frames_per_block
        own_frames = settings.blocks_in_flight * self._frames_per_block
        if self._chain:
            # They are held as copies, and a block has far more of them than as they came.
            held = min(self._frames_per_block, settings.block_bytes // self._came.frame_bytes)
        else:
            held = (settings.blocks_in_ring + 1) * self._frames_per_block
        slots = settings.slots_for(self._came, held=max(1, held), frame_rate=rate)
        shared = isinstance(source, SlotSource)
        self._ring = FrameRing(
            self._came, slots=slots, clock=clock, shared=shared, expected=expected
        )
        in_ring = 0 if self._chain else settings.blocks_in_ring * self._frames_per_block
        marks = Watermarks(high=settings.high_watermark, low=settings.low_watermark)
        self._level = RingLevel(self._ring, in_flight=in_ring, marks=marks)
        self._gate = self._choose_gate()
        if settings.overload == "spill" and settings.spill is not None:
            # Where a run is taken up, it may be its own frames that fill it.
            least = 0 if begun else self._came.frame_bytes
            check_spill_folder(settings.spill.absolute(), frame_bytes=least)
        passing = self._chain is not None or settings.overload == "spill"
        # Nobody knows how much an earlier writer has left; that does not come as fast as frames.
        copied = expected if passing else 0
        needs_own = begun is not None or passing
        self._own = FrameSlots(self.recorded, own_frames, expected=copied) if needs_own else None
        every = settings.reduction.keep_raw_every
        self.raw = (
            None
            if every is None
            else RawFrames(
                self._came,
                settings,
                every=every,
                metadata=source.metadata,
                expected=expected,
                earlier=earlier_raw,
                clock=clock,
            )
        )
        """How some frames are kept as they came."""

    def _reduction(self) -> "ReductionChain | None":
        steps = self._settings.reduction.steps
        if not steps:
            return None
        from forebay.acquisition.reduction import ReductionChain

        return ReductionChain(steps, self._came)

    def _overload_steps(self) -> "OverloadSteps | None":
        if self._settings.overload != "reduce":
            return None
        from forebay.acquisition.reduction import OverloadSteps

        return OverloadSteps(self._settings.reduction.overload_steps, self.recorded)

    def check_room(self, path: Path) -> None:
        """Refuse to begin what the disk will not last for, as far as that is known."""
        check_room(
            path,
            self._expected,
            came=self._came,
            recorded=self.recorded,
            settings=self._settings,
            frames_per_block=self._frames_per_block,
        )

    def create(self, path: Path, name: str) -> WritableRun:
        """Make the run."""
        return self._create(
            path,
            self.recorded,
            frames_per_block=self._frames_per_block,
            name=name,
            metadata=self.metadata(),
            provenance=self.provenance(),
        )

    def create_in(self, store: "ObjectStore[Bucket]", name: str) -> WritableRun:
        """Make the run in an object store."""
        from forebay.acquisition.run.writing.bucket import create_run_in

        return create_run_in(
            store,
            name,
            self.recorded,
            metadata=self.metadata(),
            provenance=self.provenance(),
            frames_per_block=self._frames_per_block,
            compression=self._settings.compression,
            clock=self._clock,
            show_every=self._settings.show_seconds,
        )

    def parts(
        self, run: WritableRun, raw: WritableRun | None, *, spilled_after: int | None = None
    ) -> Parts:
        """Return what it is made of; of spilled frames, it gives back those after `spilled_after`."""
        settings, clock = self._settings, self._clock
        identity = run.layout.run_id
        parts = Parts(
            source=self._source,
            run=run,
            ring=self._ring,
            gate=self._gate,
            level=self._level,
            settings=settings,
            clock=clock,
            own=self._own,
            reduction=self._chain,
            overload=self._overload,
            raw=raw,
            expected=self._expected,
            raw_own=self.raw.slots if self.raw else None,
        )
        if settings.overload == "spill" and settings.spill is not None:
            spill = SpillQueue.recover(
                settings.spill,
                identity,
                self._came,
                epoch=run.epoch,
                after=spilled_after,
                room=self._room(
                    Room(capacity_bytes=settings.spill_bytes, spares=0), settings.spill, self._came
                ),
                clock=clock,
            )
            run.note(SPILL_TOPIC, str(settings.spill.absolute()))
            parts = dataclasses.replace(parts, spill=spill)
        if settings.durability == "frame":
            held = (self._ring.slots + settings.blocks_in_flight * self._frames_per_block) * (
                stored_bytes(self.recorded)
            )
            folder = Path(run.storage.where) / layout.JOURNAL
            journal = FrameJournal(
                folder,
                run_id=identity,
                geometry=self.recorded,
                epoch=run.epoch,
                room=self._room(
                    Room(capacity_bytes=max(Room().capacity_bytes, 2 * held)), folder, self.recorded
                ),
                window=Window(seconds=settings.journal_seconds),
                # They are freed with that of this one.
                earlier=[each.written for each in self._earlier(run) if not each.damage],
                clock=clock,
            )
            parts = dataclasses.replace(parts, journal=journal)
        return parts

    def _room(self, room: Room, folder: Path, geometry: Geometry) -> Room:
        """Return what a journal may take, in pieces that fit the disk of its folder."""
        free = free_bytes(nearest_folder(folder.absolute()))
        return room.fitted(geometry, free=free, expected=self._expected)

    def _earlier(self, run: WritableRun) -> list[Surveyed]:
        """Return the journal of earlier writers, as far as it is sound."""
        folder = Path(run.storage.where) / layout.JOURNAL
        if not folder.is_dir():
            return []
        identity = run.layout.run_id
        return list(sound(survey(folder, run_id=identity, geometry=self.recorded, after=-1)))

    def spills_to(self, run: WritableRun) -> tuple[Path, ...]:
        """Return the folder in which frames of the run are spilled, if they are."""
        settings = self._settings
        if settings.overload != "spill" or settings.spill is None:
            return ()
        return (settings.spill.resolve() / run.layout.run_id,)

    def known_through(self, run: WritableRun, spilled: tuple[Path, ...]) -> int | None:
        """Return the last counter that an earlier writer has taken, wherever its frame is."""
        known = [self.recorded_through(run)]
        for folder in spilled:
            identity = run.layout.run_id
            found = survey(folder, run_id=identity, geometry=self._came, after=-1)
            known += map(_last_counter, found)
        return max((each for each in known if each is not None), default=None)

    def recorded_through(self, run: WritableRun) -> int | None:
        """Return the last counter that is in the run or in its journal."""
        following = run.account.next_counter
        known = [None if following is None else following - 1]
        known += map(_last_counter, self._earlier(run))
        return max((each for each in known if each is not None), default=None)

    def _create(self, path: Path, geometry: Geometry, **options: Any) -> WritableRun:
        settings = self._settings
        return create_run(
            path,
            geometry,
            compression=settings.compression,
            clock=self._clock,
            direct=settings.direct_io,
            show_every=settings.show_seconds,
            **options,
        )

    def metadata(self) -> ImageMetadata:
        """Return what is known of the frames that are recorded."""
        metadata = self._source.metadata
        return self._chain.metadata(metadata) if self._chain else metadata

    def provenance(self) -> dict[str, Any]:
        """Return as JSON what is done to the frames."""
        done: dict[str, Any] = {}
        if self._chain:
            done["reduction"] = self._chain.provenance()
        if self._overload:
            done["overload_reduction"] = self._overload.provenance()
        return done

    def _choose_gate(self) -> Gate:
        settings, can_wait = self._settings, self._source.can_wait
        if isinstance(self._source, SlotSource) and settings.overload in {
            "drop-oldest",
            "decimate",
        }:
            raise SourceError(
                f"overload = {settings.overload!r} cannot be, since the source puts its frames into "
                "the ring itself: choose spill, reduce, drop-newest, or block if it can wait"
            )
        match settings.overload:
            case "block":
                if not can_wait:
                    raise SourceError(
                        "the source cannot be held up, so overload = 'block' cannot be: choose "
                        "spill, reduce, drop-oldest, drop-newest or decimate"
                    )
                return Holding()
            case "drop-newest":
                return DroppingNewest()
            case "drop-oldest":
                return DroppingOldest()
            case "decimate":
                return Decimating(self._level, every=settings.keep_every)
            case _:
                # What spilling or reducing does not help against.
                return Holding() if can_wait else DroppingNewest()


def _last_counter(left: Surveyed) -> int | None:
    """Return the last counter that can be read in a segment; None where there is none."""
    return None if left.written.last_counter < 0 else left.written.last_counter


def _little_endian(geometry: Geometry) -> Geometry:
    return dataclasses.replace(geometry, dtype=geometry.dtype.newbyteorder("<"))
