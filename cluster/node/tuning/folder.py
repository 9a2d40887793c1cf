"""A plan as a folder, to be read, kept and handed on."""

import shutil
import tempfile
from pathlib import Path

from forebay.cluster.node.errors import TuningConflictError, TuningStorageError
from forebay.cluster.node.tuning.plan import Plan, readme
from forebay.cluster.node.tuning.system import System

README = "README.md"


def write_folder(plan: Plan, target: Path) -> None:
    """Write a plan's files, and a page that explains them, into a new folder.

    The folder is there as a whole or not at all.

    Raises
    ------
    TuningConflictError
        If there is something already.
    TuningStorageError
        If it cannot be written.
    """
    if target.exists():
        raise TuningConflictError(f"{target} exists already: name another folder, or remove it")
    aside: Path | None = None
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
        system = System(aside)
        for file in plan.files:
            system.put(file.path, file.content.encode())
        system.put(README, readme(plan).encode())
        aside.chmod(0o755)
        aside.rename(target)
    except OSError as error:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, TuningStorageError):
            raise
        raise TuningStorageError(f"{target} cannot be written: {error.strerror}") from error
