"""Carrying a repair out so that it may be killed anywhere: first all of it is decided, durably.

The new logs and the list of what is to be moved are written to a folder aside, which is flushed
and gets its name by one rename: from then on the repair is decided.  Every step after that does
nothing where it was done before, so that it can be begun anew from the first.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from forebay.acquisition import durable
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.history import replay
from forebay.acquisition.format.layout import ASIDE, CONTROL, COORDINATES, FRAMES, LOG
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.run.writing.folder import show

REPAIR = f"{CONTROL}/repair"

_BEGUN = f"{CONTROL}/repair-begun"
_PLAN = "plan.json"
_NEW_LOG = "log"


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What is to be done in the folder of a run."""

    moves: tuple[tuple[str, str], ...]
    """Paths and new paths, relative to the run, in their order; no new path is taken then."""
    old_log: str
    """Where the folder of the old logs goes."""
    report: Mapping[str, Any]
    """What to say when it is done."""


def decided_plan(path: Path) -> RepairPlan | None:
    """Return the plan of a repair that was decided and not finished, if there is one."""
    try:
        content = json.loads((path / REPAIR / _PLAN).read_bytes())
        moves = tuple((source, target) for source, target in content["moves"])
        return RepairPlan(moves, content["old_log"], content["report"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise RunDamagedError(
            f"{path / REPAIR / _PLAN} is damaged ({error!r}), and the repair was begun: restore "
            "the run from a copy"
        ) from error


def decide(path: Path, plan: RepairPlan, logs: Mapping[str, bytes]) -> None:
    """Write down what is to be done, durably; nothing of the run has changed then.

    Parameters
    ----------
    path
        Folder of the run.
    plan
        What is to be done.
    logs
        The new logs, by key.
    """
    begun = path / _BEGUN
    if begun.exists():
        shutil.rmtree(begun)
    durable.make_folders(begun / _NEW_LOG)
    for key, content in logs.items():
        durable.write_aside(begun / key.removeprefix(f"{CONTROL}/"), [content])
    durable.flush_folder(begun / _NEW_LOG)
    durable.write_aside(begun / _PLAN, [json.dumps(asdict(plan)).encode()])
    durable.flush_folder(begun)
    begun.rename(path / REPAIR)
    durable.flush_folder(path / CONTROL)


def carry_out(path: Path, plan: RepairPlan) -> None:
    """Do what was decided, or what is left of it."""
    for source, target in plan.moves:
        _move(path / source, path / target)
    new_log = path / REPAIR / _NEW_LOG
    if new_log.exists():
        _move(path / LOG, path / plan.old_log)
        _move(new_log, path / LOG)
    for folder in (ASIDE, *COORDINATES, FRAMES):
        durable.make_folders(path / folder)
    history = replay(Objects(LocalStore(path, read_only=True)))
    if history.layout is None:
        raise RunDamagedError(f"{path / LOG} has changed while it was repaired; repair it again")
    show(path, history.layout, history.frames)
    (path / REPAIR / _PLAN).unlink()
    (path / REPAIR).rmdir()
    durable.flush_folder(path / CONTROL)


def _move(source: Path, target: Path) -> None:
    """Give something another path, durably, unless that was done before."""
    if target.exists(follow_symlinks=False) or not source.exists(follow_symlinks=False):
        return
    durable.make_folders(target.parent)
    source.rename(target)
    durable.flush_folder(target.parent)
    durable.flush_folder(source.parent)
