"""An acquisition while it goes on: its threads, how it ends, and how it is doing."""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from forebay.acquisition.control.messages import (
    ClosedEvent,
    CommittedEvent,
    NotedEvent,
    StateEvent,
)
from forebay.acquisition.control.server import ControlServer
from forebay.acquisition.errors import AcquisitionError, ControlError, SourceError
from forebay.acquisition.memory.cuda import pinned_for_cuda
from forebay.acquisition.service.collector import QuietCollector
from forebay.acquisition.service.flow import FlowState, Watermarks
from forebay.acquisition.service.flow_watch import FlowWatch
from forebay.acquisition.service.handle import AcquisitionHandle
from forebay.acquisition.service.interpreter import prompt_interpreter
from forebay.acquisition.service.last_frames import LastFrames
from forebay.acquisition.service.parts import Parts
from forebay.acquisition.service.precedence import Precedence
from forebay.acquisition.service.rates import DiskWatch, RateMeter
from forebay.acquisition.service.receiving import Receiving
from forebay.acquisition.service.recording import Recording
from forebay.acquisition.service.room import ToCome
from forebay.acquisition.service.scheduling import locked_memory, place_thread, placed_here
from forebay.acquisition.service.status import AcquisitionStatus, SourceState
from forebay.acquisition.service.storage_watch import StorageWatch

_WAKE_SECONDS = 0.1
_TELL_SECONDS = 1.0
_SETTLING_SECONDS = 10.0
_PATIENCE_SECONDS = 10.0
"""Time that a source has to end when it is stopped, beside its exposure."""

_log = logging.getLogger("forebay.acquisition")


class Acquisition:
    """One acquisition, from a source through the ring to a run.

    The caller's thread waits and tells how it goes, one thread receives, one records, one writes
    notes, and each block in flight is written by a thread of its own: so a Ctrl-C, which Python raises in the
    main thread, never meets a commit half done.  Made by `prepare`; `run` does it, once.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._source = parts.source
        self._run = parts.run
        self._ring = parts.ring
        self._clock = clock = parts.clock
        self._stop = threading.Event()
        self._on_status: Callable[[AcquisitionStatus], None] | None = None
        self._started = clock.monotonic()
        self._news = threading.Event()
        self._go = threading.Event()
        self._received = threading.Event()
        self._ending: str | None = None
        self._closed_because = ""
        self._patience = _PATIENCE_SECONDS + (self._source.metadata.exposure or 0.0)
        self._patient_until = 0.0
        self._told = -1
        self._told_at = -_TELL_SECONDS
        self._hung = False
        self._source_failure: BaseException | None = None
        self._storage_failure: BaseException | None = None
        self._listener_failure: Exception | None = None
        self._rates = RateMeter(clock, frames=self._run.committer.frames)
        self._disk = DiskWatch()
        self._to_come = ToCome(parts)
        self._warnings: dict[str, None] = {}
        self._receiving = Receiving(parts)
        self._recording = Recording(
            parts,
            on_commit=self._committed,
            on_thread=self._place_thread,
            patience=_PATIENCE_SECONDS,
        )
        self._flow = FlowWatch(parts, self._receiving, self._recording)
        self._last_frames = LastFrames(parts, self._recording, patience=_PATIENCE_SECONDS)
        self._watch = StorageWatch(self._run.storage, self._receiving, self.note)
        self._control: ControlServer | None = None
        self._precedence: Precedence | None = None
        settings = parts.settings
        # Others give way before anything is done to this recording's frames.
        self._short = Watermarks(high=settings.low_watermark, low=settings.low_watermark / 2)
        # Daemons, so that a source that never comes back does not keep the process.
        self._receiver = threading.Thread(target=self._receive, name="forebay-source", daemon=True)
        self._recorder = threading.Thread(target=self._record, name="forebay-run", daemon=True)

    def run(
        self,
        *,
        armed: bool = False,
        stop: threading.Event | None = None,
        on_status: Callable[[AcquisitionStatus], None] | None = None,
    ) -> AcquisitionStatus:
        """Record until the source ends or is stopped; return how it ended.

        Parameters
        ----------
        armed
            Whether to wait for `start` before the first frame is asked for.
        stop
            Ends the acquisition when it is set.
        on_status
            Called in this thread at the start, after commits, and every second.

        Raises
        ------
        SourceError, FrameError
            If the source fails, delivers what does not fit, or does not end when it is stopped.
        StorageError
            If a block cannot be written.
        """
        self._stop = stop or self._stop
        if not armed:
            self._go.set()
        self._on_status = on_status
        with contextlib.ExitStack() as around:
            around.callback(self._release)
            self._surround(around)
            try:
                self._watch.start()
                self._recorder.start()
                self._receiver.start()
                self._wait()
            except BaseException as error:
                # Ctrl-C: what has come is still committed.  One after that, or after a stop, leaves
                # at once, and the run is as after a kill if the recorder does not get through.
                self._on_status = None
                try:
                    if not self._stop.is_set():
                        self._end_source(f"interrupted: {type(error).__name__}")
                        self._wait()
                finally:
                    self._leave()
                    self._last_frames.tell_lost()
                raise
            self._announce_end()
        return self._outcome()

    def status(self) -> AcquisitionStatus:
        """Return how it is doing; may be called from any thread."""
        account, committer = self._run.account, self._run.committer
        frames_rate, bytes_rate = self._rates.of(committer.frames, committer.stored_bytes)
        free = self._watch.free_bytes
        committed = committer.frames
        dropped, counted = self._recording.counts()
        frame_bytes = self._run.layout.geometry.frame_bytes
        return AcquisitionStatus(
            run=self._run.storage.where,
            run_id=self._run.layout.run_id,
            committed=committed,
            dropped=dropped,
            counted=counted,
            dropped_by_reason=dict(account.dropped_by_reason),
            bytes=committed * frame_bytes,
            stored_bytes=committer.stored_bytes,
            received_bytes=self._receiving.received_bytes,
            received_per_second=self._receiving.frames_per_second,
            seconds=self._clock.monotonic() - self._started,
            frames_per_second=frames_rate,
            bytes_per_second=bytes_rate,
            ring_depth=self._ring.depth,
            ring_highest=self._ring.highest,
            ring_slots=self._ring.slots,
            flow=self._flow.state.value,
            spilled_frames=self._recording.spilled_frames,
            disk_free_bytes=free,
            seconds_left=free / bytes_rate if free is not None and bytes_rate > 0 else None,
            bytes_to_come=None if self._is_ending else self._to_come.bytes,
            latency_seconds=self._recording.latency.summary(),
            receive_seconds=self._receiving.latency.summary(),
            anomalies=self._receiving.anomalies(),
            source_state=self._source_state(),
            warnings=tuple(self._warnings),
        )

    def start(self) -> None:
        """Begin to take frames, where it is armed and waits for that.

        Raises
        ------
        AcquisitionError
            If it has begun already.
        """
        if self._go.is_set():
            raise AcquisitionError(
                "the acquisition is under way already; there is nothing to start"
            )
        self._go.set()

    def stop(self, reason: str) -> None:
        """Begin to end: what has come is committed, and the run closed for that reason."""
        self._end_source(reason)
        self._news.set()

    def note(self, topic: str, text: str) -> None:
        """Write down in the run what happened or what there is to say.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        self._run.note(topic, text)
        counter = self._run.account.next_counter
        self._announce(
            NotedEvent(topic=topic, text=text, counter=counter, at=self._clock.time_ns())
        )

    def reduce(self, level: int, seconds: float) -> None:
        """Reduce frames for some time by so many of the steps that are declared for overload.

        Raises
        ------
        AcquisitionError
            If none are declared.
        """
        if not self._recording.ask_to_reduce(level, seconds):
            raise AcquisitionError(
                "no reductions are declared for times of overload: set acquisition.overload to "
                "'reduce', and the steps in acquisition.reduction.overload_steps"
            )

    # The threads.

    def _receive(self) -> None:
        """Bring the frames from the source to the ring; runs in its own thread."""
        try:
            self._place_thread("source")
            # Whatever ends an acquisition lets it go on here as well.
            self._go.wait()
            if self._ending is not None:
                return
            self._receiving.run()
        except BaseException as failure:  # noqa: BLE001 (raised again by the caller's thread)
            self._source_failure = failure
        finally:
            self._received.set()
            self._ring.finish()
            self._news.set()

    def _record(self) -> None:
        """Bring the frames from the ring to the run; runs in its own thread."""
        try:
            self._place_thread("recorder")
            # Not around the caller's thread, which may leave a storage that hangs.
            with self._recording.flushing():
                self._record_to_the_end()
        except BaseException as failure:  # noqa: BLE001 (raised again by the caller's thread)
            self._storage_failure = self._storage_failure or failure
        finally:
            self._news.set()

    def _record_to_the_end(self) -> None:
        """Record what comes, and close the run."""
        try:
            self._recording.run()
            if self._recording.failure is None:
                # A source that finishes the ring may yet have to say why.
                self._received.wait(_PATIENCE_SECONDS)
            self._watch.close()
            # What comes to pass from here on does not end it any more.
            self._closed_because = self._reason()
            self._recording.close(reason=self._closed_because)
        except BaseException as failure:  # noqa: BLE001 (raised again by the caller's thread)
            # Where something has failed before, this is what it has led to.
            self._storage_failure = self._recording.failure or failure
        finally:
            self._ring.finish()
            self._recording.abandon()

    def _committed(self, blocks: int) -> None:
        """Tell of a commit; called by the committing thread."""
        committer, account = self._run.committer, self._run.account
        self._announce(
            CommittedEvent(
                blocks=blocks,
                frames=committer.frames,
                dropped=account.dropped,
                counted=account.counted,
            )
        )
        self._news.set()

    def _place_thread(self, _role: str) -> None:
        """Give the calling thread its place on the machine, of which all are told the same."""
        place_thread(self._parts.settings.scheduling)

    def _surround(self, around: contextlib.ExitStack) -> None:
        """Set up what is there as long as the acquisition goes on."""
        settings = self._parts.settings
        # This thread as well: whoever holds the interpreter is waited for by all the others.
        for refusal in around.enter_context(placed_here(settings.scheduling)).refusals:
            self._warn(refusal)
        around.enter_context(prompt_interpreter())
        self._collector = around.enter_context(QuietCollector(clock=self._clock))
        memory, scheduling = self._ring.memory.mapping.bytes, settings.scheduling
        held = [locked_memory(memory)] if scheduling.lock_memory else []
        held += [pinned_for_cuda(memory)] if scheduling.pin_memory else []
        for refusal in filter(None, map(around.enter_context, held)):
            self._warn(refusal)
        self._control = self._open_control(around)
        self._precedence = self._take_precedence(around)
        # Others that began at the same time did not know of this one.
        if lacking := self._to_come.shortage():
            self._warn(f"the frames that are to come {lacking}: make room in time")

    def _warn(self, text: str) -> None:
        """Tell the operator, once."""
        if text not in self._warnings:
            self._warnings[text] = None
            _log.warning("%s", text)

    # Waiting.

    def _wait(self) -> None:
        """Wait for both threads to end, tell of commits, and pass a stop on to the source."""
        while self._recorder.is_alive() or (self._receiver.is_alive() and not self._hung):
            self._news.wait(_WAKE_SECONDS)
            self._news.clear()
            if self._stop.is_set():
                self._end_source("stopped by the operator")
            if not self._recorder.is_alive():
                self._end_source("the recorder ended")
            if not self._receiver.is_alive() or self._out_of_patience():
                self._received.set()
                self._ring.finish()
                self._recording.end()
            if self._receiver.is_alive():
                held_up = self._flow.holding or not self._go.is_set()
                self._receiving.look_for_stall(held_up=held_up)
            self._watch_order()
            self._watch_flow()
            self._watch_disk()
            waiting = self._flow.state.is_waiting
            self._last_frames.tell_waiting(self._flow.state if self._is_ending else None)
            if self._is_ending and not waiting and self._recorder.is_alive():
                self._last_frames.tell_hanging(stopped=self._stop.is_set())
            self._tell()
            self._collector.collect()
        # What the source has done since the recorder ended.
        self._watch.close()
        self._tell()

    def _watch_order(self) -> None:
        if self._precedence is None:
            return
        self._precedence.say(short=self._short.above(self._ring.depth / self._ring.slots))
        # What has come when the source ends is little, and is to be safe soon.
        delivering = self._receiver.is_alive() and self._ending is None
        self._recording.give_way(delivering and self._precedence.gives_way)

    def _watch_flow(self) -> None:
        flow = self._flow.look()
        if flow is not None:
            calm = flow in {FlowState.NORMAL, FlowState.HOLDING}
            level = logging.INFO if calm else logging.WARNING
            _log.log(level, "the flow of frames is now: %s", flow.value)
            if flow is FlowState.WAITING_FOR_STORAGE:
                _log.warning("it is tried again until it answers: %s", self._recording.not_ready)
            self._announce(StateEvent(flow=flow.value))

    def _watch_disk(self) -> None:
        young = self._clock.monotonic() - self._started < _SETTLING_SECONDS
        if young or self._is_ending or self._flow.state.is_waiting:
            return  # The rate at the beginning says little; nor is there more to say in the end.
        free = self._watch.free_bytes
        committer = self._run.committer
        _, rate = self._rates.of(committer.frames, committer.stored_bytes)
        warning = self._disk.look(free, rate, self._to_come.bytes)
        if warning:
            self._warn(warning)

    def _tell(self) -> None:
        now = self._clock.monotonic()
        committed = self._run.committer.frames
        due = committed > self._told or now - self._told_at >= _TELL_SECONDS
        if self._on_status and due:
            self._told, self._told_at = committed, now
            try:
                self._on_status(self.status())
            except Exception as failure:  # noqa: BLE001 (raised again when the run is closed)
                # Whoever listens has failed, not the recording: it goes on without.
                self._listener_failure = failure
                self._on_status = None

    @property
    def _is_ending(self) -> bool:
        return self._ending is not None or not self._receiver.is_alive()

    def _end_source(self, reason: str) -> None:
        if self._ending is None:
            self._ending = reason
            self._patient_until = self._clock.monotonic() + self._patience
            try:
                self._source.stop()
            except Exception as failure:  # noqa: BLE001 (raised again when the run is closed)
                self._source_failure = self._source_failure or failure
            self._recording.end()
            self._go.set()

    def _leave(self) -> None:
        """Let the threads that are left end by themselves: nobody looks after them any more."""
        self._end_source("stopped by the operator")
        self._recording.give_way(False)
        self._received.set()
        self._ring.finish()

    def _out_of_patience(self) -> bool:
        """Tell whether the source was stopped and does not end."""
        now = self._clock.monotonic()
        if self._recorder.is_alive() and self._ring.depth == self._ring.slots:
            # It is the recorder that everybody waits for.
            self._patient_until = now + self._patience
        self._hung = self._hung or (self._ending is not None and now > self._patient_until)
        return self._hung

    # The end.

    def _release(self) -> None:
        """Give the memory for frames back, unless a thread that hangs may still use it.

        Not left to the garbage collector: in a process with many objects that comes by once in
        many recordings.
        """
        if self._recorder.ident is None:
            # It has not begun, and nobody else ends what waits for the first frame.
            self._recording.abandon()
        if not (self._receiver.is_alive() or self._recorder.is_alive()):
            self._recording.release()

    def _reason(self) -> str:
        if self._source_failure is not None:
            return f"the source failed: {self._source_failure}"
        if self._hung:
            return f"{self._ending}; the source did not end"
        return self._ending or "the source ended"

    def _outcome(self) -> AcquisitionStatus:
        if self._storage_failure is not None:
            self._last_frames.tell_lost()
            raise self._storage_failure
        if self._source_failure is not None:
            raise self._source_failure
        if self._hung:
            raise SourceError(
                f"the source did not end within {self._patience:g} s of being stopped; "
                f"{self._run.storage.where} is closed with the {self._run.committer.frames} frames "
                "that came"
            )
        if self._listener_failure is not None:
            raise self._listener_failure
        return self.status()

    # Telling.

    def _open_control(self, around: contextlib.ExitStack) -> ControlServer | None:
        try:
            return around.enter_context(
                ControlServer(self._run.layout.run_id, AcquisitionHandle(self), clock=self._clock)
            )
        except ControlError as error:
            _log.warning("%s; the recording goes on without", error)
            return None

    def _take_precedence(self, around: contextlib.ExitStack) -> Precedence | None:
        """Take the recording's place among those to its disk; None where it lies on none."""
        path = Path(self._run.storage.where)
        if not path.is_dir():
            return None
        try:
            return around.enter_context(Precedence(path, priority=self._parts.settings.priority))
        except ControlError as error:
            _log.warning(
                "%s; the recording goes on, and comes neither before nor after others", error
            )
            return None

    def _announce(self, event: CommittedEvent | StateEvent | NotedEvent | ClosedEvent) -> None:
        if self._control is not None:
            self._control.announce(event)

    def _announce_end(self) -> None:
        if self._storage_failure is None:
            self._announce(ClosedEvent(reason=self._closed_because))

    def _source_state(self) -> SourceState:
        if not self._go.is_set():
            return "waiting"
        if self._receiving.stalled:
            return "stalled"
        return "delivering" if self._receiver.is_alive() else "ended"
