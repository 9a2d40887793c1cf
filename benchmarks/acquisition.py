"""How fast, how evenly and how long frames are recorded: against raw writing, and other writers.

    python -m benchmarks.acquisition [--disk FOLDER] [--memory FOLDER] [--only disk|memory]
        [--quick] [--json] COMMAND

The pictures are real ones side by side, of 12 bits in 16, and in memory before anything is
measured.  Peers take turns, each in a process of its own, and write the same frames to shards of
the same size, flushed as often as they allow; the table says what is durable when.  They read the
frames where they lie; forebay takes them from a source one after the other, copies them into its
ring, and computes its checksums.  What has been written is read back before it is removed.  What
counts are the ratios to raw writing in the same round.

Where a recording is longer than the disk, the committed shards are removed behind it.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from benchmarks.recording_measurements.append import PEERS
from benchmarks.recording_measurements.append import append as compare
from benchmarks.recording_measurements.report import conditions, table
from benchmarks.recording_peers.peer import Stream
from rich.console import Console

WIDTH = 200
SIDE, SMALL, LARGE = 2048, 256, 8192
SHARD_BYTES = 64 * 2**20
QUICK_SIDE, QUICK_SHARD_BYTES = 128, 2**17

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """What is said before the command, and the figures that come."""

    places: dict[str, Path]
    """Folders to record to."""
    quick: bool
    """Whether to measure next to nothing, to see that it works."""
    console: Console
    """For what is told meanwhile."""
    figures: dict[str, list[Row]] = field(default_factory=dict)
    """Rows of figures, by title."""

    def size[T](self, given: T | None, full: T, quick: T) -> T:
        """Return what is given, or else what is usual."""
        usual = quick if self.quick else full
        return usual if given is None else given

    def stream(self, gigabytes: float | None) -> Stream:
        """Return the frames of a camera."""
        side = QUICK_SIDE if self.quick else SIDE
        return self.stream_of(side, self.size(gigabytes, 4.0, 0.0005))

    def stream_of(self, side: int, gigabytes: float) -> Stream:
        """Return frames of some size."""
        shard_bytes = QUICK_SHARD_BYTES if self.quick else SHARD_BYTES
        return Stream.of(side, gigabytes=gigabytes, shard_bytes=shard_bytes)

    def add(self, name: str, rows: list[Row]) -> None:
        """Keep some figures."""
        self.figures[name] = rows

    def tell(self, line: str) -> None:
        """Say how it goes."""
        self.console.print(line, highlight=False)


Rounds = Annotated[int | None, typer.Option(min=1, help="How often each is measured.")]
Gigabytes = Annotated[float | None, typer.Option(min=1e-6, help="To record each time.")]
Rate = Annotated[float | None, typer.Option(min=0.01, help="Frames per second.")]
Seconds = Annotated[float | None, typer.Option(min=0.1, help="Length of a recording.")]
Peers = Annotated[str | None, typer.Option(help="Names of peers, with commas between them.")]


@app.callback(help=__doc__.splitlines()[0] if __doc__ else None)
def main(
    context: typer.Context,
    disk: Annotated[Path, typer.Option(help="A folder on a disk.")] = Path("/var/tmp"),
    memory: Annotated[Path, typer.Option(help="One in shared memory.")] = Path("/dev/shm"),
    only: Annotated[Literal["disk", "memory"] | None, typer.Option()] = None,
    quick: Annotated[bool, typer.Option(help="Next to nothing, to see that it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Prepare for a command, and print what it has found."""
    wanted = {"disk": disk, "memory": memory}
    context.obj = context.with_resource(
        _session({name: wanted[name] for name in wanted if only in {None, name}}, quick, as_json)
    )


@contextmanager
def _session(folders: dict[str, Path], quick: bool, as_json: bool) -> Iterator[Session]:
    with ExitStack() as stack:
        places = {
            name: Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="forebay-"))
            )
            for name, folder in folders.items()
        }
        session = Session(places, quick, Console(stderr=True, width=WIDTH))
        session.add("conditions", [conditions(places)])
        try:
            yield session
        finally:
            # What was measured before something failed is of use all the same.
            _show(session.figures, as_json=as_json)


def _show(figures: Mapping[str, list[Row]], *, as_json: bool) -> None:
    if as_json:
        json.dump(figures, sys.stdout, indent=2)
        return
    for title, rows in figures.items():
        Console(width=WIDTH).print(table(title, rows))


# Each command imports what it measures: the processes of the peers import this module again, and
# must not have to import forebay for it.


@app.command()
def append(
    context: typer.Context,
    gigabytes: Gigabytes = None,
    rounds: Rounds = None,
    peers: Peers = None,
) -> None:
    """Compare sustained recording with raw writing and with other writers."""
    session: Session = context.obj
    rows = compare(
        [session.stream(gigabytes), replace(session.stream(gigabytes), compression="lz4")],
        session.places,
        rounds=session.size(rounds, 5, 1),
        peers=peers.split(",") if peers else PEERS,
    )
    session.add("append", rows)


@app.command()
def parts(
    context: typer.Context,
    gigabytes: Gigabytes = None,
    rounds: Rounds = None,
    blocks_in_flight: Annotated[
        str | None,
        typer.Option(help="Numbers, with commas between them: compare these, and no parts."),
    ] = None,
    compression: Annotated[Literal["none", "lz4"], typer.Option()] = "none",
) -> None:
    """Leave the parts of recording out one at a time, or vary the blocks in flight."""
    from benchmarks.recording_measurements.parts import LEFT_OUT, in_flight
    from benchmarks.recording_measurements.parts import parts as measure

    session: Session = context.obj
    stream = replace(session.stream(gigabytes), compression=compression)
    numbers = blocks_in_flight.split(",") if blocks_in_flight else []
    for name, folder in session.places.items():
        rows = measure(
            stream,
            folder,
            rounds=session.size(rounds, 5, 1),
            ways=tuple(in_flight(int(number)) for number in numbers) or LEFT_OUT,
        )
        session.add(f"parts, {name}", rows)


@app.command()
def rate(
    context: typer.Context,
    seconds: Seconds = None,
    trial_seconds: Seconds = None,
    overload_seconds: Seconds = None,
    begin: Annotated[
        float | None, typer.Option(min=0.1, help="Rate to begin with, without a search.")
    ] = None,
    ring_gigabytes: Annotated[
        float, typer.Option(min=1e-6, help="Ring while the rate is held for long.")
    ] = 2.0,
) -> None:
    """Find the highest frame rate without a drop; then overload a slower disk, by each policy."""
    from benchmarks.recording_measurements.rate import OVER, SLOWED, highest_rate, overloaded

    session: Session = context.obj
    stream = session.stream(None)
    for name, folder in session.places.items():
        # Frames are spilled to the other place, where there is one.
        other = next((path for path in session.places.values() if path != folder), folder)
        highest = highest_rate(
            stream,
            folder,
            trial_seconds=session.size(trial_seconds, 6.0, 0.1),
            hold_seconds=session.size(seconds, 120.0, 0.2),
            begin=begin,
            trials=session.size(None, 12, 2),
            ring_bytes=round(ring_gigabytes * 1e9),
            tell=session.tell,
        )
        session.add(f"rate, {name}: highest without a drop", [highest.row(stream)])
        over = overloaded(
            stream,
            folder,
            bytes_per_second=SLOWED * highest.rate * stream.nbytes / stream.frames,
            seconds=session.size(overload_seconds, 15.0, 0.5),
            spill=other / "spill",
        )
        session.add(f"rate, {name}: {OVER:g} times what a slow disk holds", over)


@app.command()
def latency(
    context: typer.Context,
    rate: Rate = None,
    seconds: Seconds = None,
    realtime_priority: Annotated[
        int, typer.Option(min=0, max=99, help="Of the recording's threads; 0 for the ordinary one.")
    ] = 0,
) -> None:
    """Measure the time from a frame to its commit, beside a busy process and without."""
    from benchmarks.recording_measurements.latency import latency as measure

    session: Session = context.obj
    for name, folder in session.places.items():
        rows = measure(
            session.stream(None),
            folder,
            rate=session.size(rate, 50.0, 100.0),
            seconds=session.size(seconds, 60.0, 0.2),
            realtime_priority=realtime_priority,
        )
        session.add(f"latency, {name}", rows)


@app.command()
def small_large(
    context: typer.Context,
    gigabytes: Gigabytes = None,
    rounds: Rounds = None,
    peers: Peers = None,
    seconds: Seconds = None,
) -> None:
    """Record small frames, at thousands a second too, and large ones."""
    from benchmarks.recording_measurements.rate import rates_held

    session: Session = context.obj
    total = session.size(gigabytes, 4.0, 0.001)
    sides = session.size(None, [SMALL, LARGE], [SMALL, 2 * SMALL])
    streams = [session.stream_of(side, total) for side in sides]
    rows = compare(
        streams,
        session.places,
        rounds=session.size(rounds, 5, 1),
        peers=peers.split(",") if peers else session.size(None, PEERS, ("raw", "forebay")),
    )
    session.add("small and large frames", rows)
    for name, folder in session.places.items():
        paced = rates_held(
            streams[0],
            folder,
            rates=session.size(None, [2000.0, 5000.0, 10_000.0], [50.0]),
            seconds=session.size(seconds, 30.0, 0.2),
        )
        session.add(f"small frames at a rate, {name}", paced)


@app.command()
def cameras(context: typer.Context, gigabytes: Gigabytes = None, rounds: Rounds = None) -> None:
    """Record from one, two and four cameras at a time."""
    from benchmarks.recording_measurements.cameras import cameras as measure

    session: Session = context.obj
    for name, folder in session.places.items():
        rows = measure(session.stream(gigabytes), folder, rounds=session.size(rounds, 5, 1))
        session.add(f"cameras, {name}", rows)


@app.command()
def soak(
    context: typer.Context,
    minutes: Annotated[float | None, typer.Option(min=0.001)] = None,
    rate: Rate = None,
    every: Annotated[float | None, typer.Option(min=0.01, help="Seconds.")] = None,
) -> None:
    """Record for long, and look every minute at what the process holds."""
    from benchmarks.recording_measurements.soak import soak as measure

    session: Session = context.obj
    for name, folder in session.places.items():
        samples: list[Row] = []

        def tell(sample: Row, samples: list[Row] = samples) -> None:
            samples.append(sample)
            session.tell(json.dumps(sample))

        outcome = measure(
            session.stream(None),
            folder,
            rate=session.size(rate, 50.0, 50.0),
            seconds=60 * session.size(minutes, 30.0, 0.01),
            every=session.size(every, 60.0, 0.1),
            tell=tell,
        )
        session.add(f"soak, {name}", [outcome])
        session.add(f"soak, {name}: samples", samples)


@app.command(name="all")
def everything(context: typer.Context) -> None:
    """Do all of it."""
    for command in (append, parts, rate, latency, small_large, cameras, soak):
        context.invoke(command, context=context)


if __name__ == "__main__":
    app()
