"""Whose machines are whose: the site, the start of a cluster, and whether its owner still lives.

Each machine carries the name of its cluster, the site that it belongs to and the start that asked
for it, as tags.  For each start there is a file that its process holds locked: the lock goes with
the process however that ends, so a machine is an orphan if its start's file can be locked.
"""

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay.cluster.aws.specification import OWN_TAGS
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.owner import StartOwner
from forebay.cluster.keeping.site import site_of

CLUSTER_TAG = f"{OWN_TAGS}cluster"
SITE_TAG = f"{OWN_TAGS}site"
START_TAG = f"{OWN_TAGS}start"
REQUEST_TAG = f"{OWN_TAGS}request"
LARGER_TAG = f"{OWN_TAGS}larger"
"""Of the instance of the worker that has more memory than the others."""


@dataclass(frozen=True, slots=True)
class Owner(StartOwner):
    """One start of a cluster on AWS."""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that is made on AWS for it."""
        return self.marks(OWN_TAGS)

    @property
    def parameter(self) -> str:
        """Name of the parameter that holds its certificates."""
        return f"/forebay/{self.cluster}/{self.start}/tls"


@contextmanager
def owning(folder: Path, cluster: str) -> Iterator[Owner]:
    """Be the owner of a start of a cluster for the length of a block."""
    start = uuid.uuid4().hex[:12]
    path = _lock(folder, cluster, start)
    # It has its name once it is locked: one that is not is taken for that of a process that died.
    aside = path.parent.with_name(f".{start}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = aside.open("w")
    except OSError as error:
        raise ClusterError(f"{path} cannot be written ({error})") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        aside.rename(path)
        yield Owner(cluster, site_of(folder), start)
        # Whatever it left, nobody looks after it any more: reaping finds that by the lock.


def lives(folder: Path, cluster: str, start: str) -> bool:
    """Tell whether the process that owns a start is there."""
    try:
        with _lock(folder, cluster, start).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def forget(folder: Path, cluster: str, start: str) -> None:
    """Remove what was kept about a start that has left nothing behind."""
    _lock(folder, cluster, start).unlink(missing_ok=True)


def dead_starts(folder: Path, cluster: str) -> list[str]:
    """Return the starts of a cluster whose owners are gone."""
    files = (folder / cluster / "starts").glob("*")
    return sorted(each.name for each in files if not lives(folder, cluster, each.name))


def _lock(folder: Path, cluster: str, start: str) -> Path:
    return folder / cluster / "starts" / start
