"""Applying a plan to a machine, and undoing it; either may be killed at any point and run again.

What was there before is written down, durably, before anything is changed.  The record stays until
everything is back.
"""

from dataclasses import dataclass
from pathlib import Path

from forebay.cluster.node.errors import NothingToUndoError
from forebay.cluster.node.tuning.plan import Plan
from forebay.cluster.node.tuning.record import (
    FILE,
    FOLDER,
    FileEntry,
    LiveEntry,
    Record,
    record_of,
)
from forebay.cluster.node.tuning.system import System, digest


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed of a machine."""

    files: tuple[str, ...] = ()
    """Files that were written or brought back."""
    live: tuple[str, ...] = ()
    """Values that were set, or set back."""
    refused: tuple[str, ...] = ()
    """Values that the running system did not take, each with the reason."""
    left: tuple[str, ...] = ()
    """What somebody else has changed since, and was left alone."""


def apply(plan: Plan, root: Path) -> Changes:
    """Make a machine what a plan says.

    What an earlier call has done for another role is taken back, as far as this plan does not want
    it too.

    Parameters
    ----------
    plan
        What is wanted.
    root
        Where the machine's file system begins.

    Raises
    ------
    TuningConflictError
        If another call is at work, or a file is none that can be replaced.
    TuningStorageError
        If the system refuses to have a file written.
    RecordError
        If the record of an earlier call cannot be read.
    """
    system = System(root)
    system.make_folders(FILE)
    with system.locked(FOLDER):
        known = _known(system)
        wanted = _record(system, plan, known)
        obsolete = _obsolete(known, wanted)
        everything = wanted.model_copy(
            update={
                "files": wanted.files + obsolete.files,
                "live": wanted.live + obsolete.live,
            }
        )
        _keep(system, everything)
        taken_back = _take_back(system, obsolete)
        for file in plan.files:
            system.put(file.path, file.content.encode())
        live, refused = [], []
        for value in plan.live:
            if system.live(value.path) == value.value:
                continue
            if reason := system.set_live(value.path, value.value):
                refused.append(reason)
            else:
                live.append(f"{value.path} = {value.value}")
        left = taken_back.unsettled
        _keep(
            system,
            wanted.model_copy(update={"complete": True, "files": wanted.files + left.files}),
        )
    return Changes(
        tuple(file.path for file in plan.files),
        tuple(live),
        tuple(refused) + taken_back.changes.refused,
        taken_back.changes.left,
    )


def undo(root: Path) -> Changes:
    """Bring back what was there before a plan was applied.

    A file that somebody has changed since is left alone, and stays in the record.

    Parameters
    ----------
    root
        Where the machine's file system begins.

    Raises
    ------
    NothingToUndoError
        If nothing was applied, or all of it is undone.
    TuningConflictError
        If another call is at work.
    TuningStorageError
        If the system refuses to have a file written.
    RecordError
        If the record cannot be read.
    """
    system = System(root)
    if system.read(FILE) is None:
        raise NothingToUndoError(f"nothing was applied below {root}, or it is undone already")
    with system.locked(FOLDER):
        record = _known(system)
        if record is None:
            raise NothingToUndoError(f"somebody else has just undone it below {root}")
        _keep(system, record.model_copy(update={"complete": False}))
        taken_back = _take_back(system, record)
        for folder in reversed(record.folders):
            system.remove_folder(folder)
        left = taken_back.unsettled
        if left.files:
            _keep(system, left)
        else:
            system.remove(FILE)
            for folder in (FOLDER, str(Path(FOLDER).parent)):
                system.remove_folder(folder)
    return taken_back.changes


def values_before(root: Path) -> dict[str, str]:
    """Return the values that an applied plan has changed, as they were, by their paths.

    Raises
    ------
    RecordError
        If the record cannot be read.
    """
    record = _known(System(root))
    if record is None:
        return {}
    return {
        # Where a counterpart held, the value itself was 0.
        entry.path: entry.restore if entry.restore_path == entry.path else "0"
        for entry in record.live
    }


@dataclass(frozen=True, slots=True)
class _TakenBack:
    changes: Changes
    unsettled: Record
    """What could not be taken back."""


def _known(system: System) -> Record | None:
    content = system.read(FILE)
    return None if content is None else record_of(content)


def _keep(system: System, record: Record) -> None:
    # It may hold files that not everybody may read.
    system.put(FILE, record.model_dump_json(indent=1).encode(), mode=0o600)


def _record(system: System, plan: Plan, known: Record | None) -> Record:
    """Return what is to be changed, with how it was before anybody has changed it."""
    files_before = {entry.path: entry for entry in known.files} if known else {}
    live_before = {entry.path: entry for entry in known.live} if known else {}
    files, live = [], []
    folders = list(known.folders) if known else []
    for file in plan.files:
        earlier = files_before.get(file.path)
        written = (digest(file.content.encode()), *(earlier.ours if earlier else ()))
        before = earlier.before if earlier else system.before(file.path)
        files.append(FileEntry(path=file.path, before=before, ours=tuple(dict.fromkeys(written))))
        folders += [each for each in system.missing_folders(file.path) if each not in folders]
    for value in plan.live:
        if (held := live_before.get(value.path)) is not None:
            written = tuple(dict.fromkeys((value.value, *held.written)))
            live.append(held.model_copy(update={"written": written}))
            continue
        now = system.live(value.path)
        if now is None or now == value.value:
            continue
        restore_path, restore = value.path, now
        if value.counterpart is not None and now == "0":
            restore_path, restore = value.counterpart, system.live(value.counterpart) or "0"
        live.append(
            LiveEntry(
                path=value.path,
                written=(value.value,),
                restore_path=restore_path,
                restore=restore,
            )
        )
    return Record(
        role=plan.role,
        complete=False,
        files=tuple(files),
        live=tuple(live),
        folders=tuple(folders),
    )


def _obsolete(known: Record | None, wanted: Record) -> Record:
    """Return what an earlier call has changed and this one does not."""
    if known is None:
        return wanted.model_copy(update={"files": (), "live": (), "folders": ()})
    files, live = {entry.path for entry in wanted.files}, {entry.path for entry in wanted.live}
    return known.model_copy(
        update={
            "files": tuple(entry for entry in known.files if entry.path not in files),
            "live": tuple(entry for entry in known.live if entry.path not in live),
            "folders": (),
        }
    )


def _take_back(system: System, record: Record) -> _TakenBack:
    """Bring files and values back; what is back already stays so."""
    files, live, refused, left, unsettled = [], [], [], [], []
    for entry in reversed(record.files):
        system.tidy(entry.path)
        now, before = system.read(entry.path), entry.before
        if now == (before.content if before else None):
            continue
        if now is not None and digest(now) not in entry.ours:
            left.append(f"/{entry.path} was changed since: compare it, remove it, and undo again")
            unsettled.append(entry)
        elif before is None:
            system.remove(entry.path)
            files.append(entry.path)
        else:
            system.put(entry.path, before.content, before)
            files.append(entry.path)
    for value in reversed(record.live):
        now_live = system.live(value.path)
        if now_live is None or (now_live and now_live not in value.written):
            continue
        if reason := system.set_live(value.restore_path, value.restore):
            refused.append(reason)
        else:
            live.append(f"{value.restore_path} = {value.restore}")
    changes = Changes(tuple(files), tuple(live), tuple(refused), tuple(left))
    rest = record.model_copy(
        update={"files": tuple(reversed(unsettled)), "live": (), "complete": True}
    )
    return _TakenBack(changes, rest)
