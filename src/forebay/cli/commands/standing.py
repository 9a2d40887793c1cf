"""How a job stands, in sentences, in fields, and while it goes on."""

import datetime
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from forebay.cli.output import print_json, progress, seconds
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.engine import SubmittedJob
    from forebay.engine.queue.explain import Explanation
    from forebay.engine.queue.jobs import JobRecord
    from forebay.engine.queue.progress import Progress


def told(job: "SubmittedJob", *, as_json: bool) -> None:
    """Tell of a job that was submitted."""
    found = job.explain()
    if as_json:
        print_json({"job": job.number, "new": job.new, "state": found.job.state})
        return
    again = "" if job.new else " was submitted already and"
    typer.echo(f"job {job.number}{again} {found.job.told}")
    for line in explanation(found)[1:]:
        typer.echo(f"  {line}")


def tell_of_kept(
    job: "SubmittedJob", *, lane: str | None, priority: int | None, deadline: int | None
) -> None:
    """Say on stderr what was given for a job that is there already, and does not change it.

    A script that submits the same each hour, to be done within eight, is not to put it off.
    """
    if job.new:
        return
    from forebay.engine.queue.lanes import Lane

    record = job.explain().job
    given = {"lane": lane, "priority": priority, "deadline": deadline}
    now = {
        "lane": Lane(record.lane).label,
        "priority": record.priority,
        "deadline": record.deadline,
    }
    kept = [name for name, value in given.items() if value not in {None, now[name]}]
    if kept:
        options = " ".join(f"--{name} {name.upper()}" for name in kept)
        typer.echo(
            f"forebay: job {job.number} keeps its {' and its '.join(kept)}: change "
            f"{'it' if len(kept) == 1 else 'them'} with 'forebay jobs prioritise {job.number} "
            f"{options}'",
            err=True,
        )


def explanation(found: "Explanation") -> list[str]:
    """Return an explanation in lines."""
    from forebay.engine.wording import counted

    lines = [f"it {found.job.told}", *found.reasons]
    if found.place is not None and found.units_before:
        lines.append(
            f"served before it: {counted(found.place - 1, 'job')}, {counted(found.units_before, 'unit')}"
        )
    if found.starts_in:
        lines.append(f"it should start in {seconds(found.starts_in)}")
    if found.ends_in:
        lines.append(f"it should be done in {seconds(found.ends_in)}")
    if (left := found.deadline_in) is not None:
        late = (
            "" if found.ends_in is None or found.ends_in <= left else ", before it should be done"
        )
        passed = f"passed {seconds(-left)} ago" if left < 0 else f"is in {seconds(left)}{late}"
        lines.append(f"its deadline {passed}")
    return lines


def watched(job: "SubmittedJob", *, as_json: bool) -> None:
    """Watch a job to its end, and exit with what that tells."""
    from forebay.engine.queue.states import JobState, UnitState
    from forebay.engine.wording import counted

    last: dict[str, Any] = {}

    with (
        _stopping() as stop,
        progress("units") as bars,
    ):
        task = bars.add_task(f"job {job.number}", total=None, note="")

        def show_progress(record: "JobRecord", done: "Progress") -> None:
            finished = done.count(UnitState.DONE, UnitState.DEAD, UnitState.CANCELLED)
            dead = done.count(UnitState.DEAD)
            note = record.state + (f", {dead} dead letters" if dead else "")
            bars.update(task, total=done.total or None, completed=finished, note=note)
            fields = as_fields(record, done)
            if as_json and fields != last:
                last.clear()
                last.update(fields)
                print_json(fields)

        record = job.wait(stop=stop, on_progress=show_progress)
    if not as_json:
        done = job.progress()
        typer.echo(
            f"job {job.number} {record.told}: {done.count(UnitState.DONE)} of {done.total} units "
            f"published, {counted(done.count(UnitState.DEAD), 'dead letter')}"
        )
        for error in [*done.errors, *([record.error] if record.error else [])]:
            typer.echo(f"  {error}")
    if record.state != JobState.DONE:
        raise typer.Exit(ExitCode.INCOMPLETE)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    with stop_on_signals("the job goes on") as stop:
        yield stop


def as_fields(record: "JobRecord", done: "Progress") -> dict[str, Any]:
    """Return a job for machines."""
    from forebay.engine.queue.lanes import Lane

    return {
        "job": record.job,
        "state": record.state,
        "lane": Lane(record.lane).label,
        "priority": record.priority,
        "deadline": None if record.deadline is None else in_utc(record.deadline),
        "algorithm": record.algorithm,
        "version": record.version,
        "parameters": record.parameters,
        "owner": record.owner,
        "labels": record.labels,
        "runs": done.results,
        "planned": done.planned,
        "units": dict(done.units),
        "frames": dict(done.frames),
        "worked_seconds": done.seconds,
        "errors": done.errors,
        "error": record.error,
    }


def in_utc(at: int) -> str:
    """Return a time for machines."""
    return datetime.datetime.fromtimestamp(at / 1e9, datetime.UTC).isoformat()


def when(at: int | None) -> str:
    """Return a time for people, in the time zone of this machine."""
    if at is None:
        return "-"
    return datetime.datetime.fromtimestamp(at / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
