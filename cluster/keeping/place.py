"""The folder of a running cluster: who runs it, where it listens, its certificates and logs."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from forebay.cluster.errors import ClusterError, ClusterTakenError
from forebay.cluster.keeping.logs import prune, split

_RECORD = "cluster.json"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0
_ASIDE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """A cluster that runs."""

    name: str
    """What it is called."""
    kind: str
    """Of what kind it is."""
    address: str
    """Where its scheduler listens."""
    host: str
    """The machine that it was started on."""
    process: int
    """The process that keeps it."""
    began_at: float
    """When it was started, in seconds since 1970-01-01 UTC."""
    tls: bool
    """Whether its certificates lie beside this."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one cluster.

    A cluster that outlives the command that uses it has the folder of its name; one that ends
    with its command has a folder of its own, so that several may run beside each other.
    """

    path: Path
    """The folder."""

    @property
    def tag(self) -> str:
        """What the jobs of this cluster are known by, wherever they are seen."""
        return f"forebay:{hashlib.sha256(str(self.path).encode()).hexdigest()[:16]}"

    @property
    def logs(self) -> Path:
        """Folder of what the workers say."""
        return self.path / "logs"

    def split_logs(self) -> tuple[list[Path], list[Path]]:
        """Return the logs of earlier starts, and those of the last one; the oldest first."""
        try:
            start = (self.path / _LOCK).stat().st_mtime
        except FileNotFoundError:
            start = 0.0
        return split(self.logs, start)

    @property
    def ca_file(self) -> Path:
        """The certificate that scheduler, workers and clients show and trust."""
        return self.path / "tls-certificate.pem"

    @property
    def key_file(self) -> Path:
        """Its private key."""
        return self.path / "tls-key.pem"

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Have the folder for oneself; what it holds is removed with the block, but for the logs.

        Raises
        ------
        ClusterTakenError
            If a cluster is run in it already.
        ClusterError
            If it cannot be written.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            lock = (self.path / _LOCK).open("a")
        except OSError as error:
            raise ClusterError(
                f"{self.path} cannot be written ({error.strerror}): give another folder"
            ) from error
        with lock:
            if not _locked(lock, seconds=_ASIDE_SECONDS):
                raise ClusterTakenError(
                    f"a cluster runs in {self.path} already: 'forebay cluster stop "
                    f"{self.path.name}' ends it"
                )
            # Whoever tries in vain does not change it: it tells when the last start was.
            os.utime(lock.fileno())
            prune(self.logs)
            try:
                yield
            finally:
                for each in (self.path / _RECORD, self.ca_file, self.key_file):
                    each.unlink(missing_ok=True)

    @property
    def is_taken(self) -> bool:
        """Whether somebody has the folder for himself."""
        try:
            with (self.path / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def write(self, *, name: str, kind: str, address: str, tls: bool) -> Record:
        """Say that a cluster runs."""
        record = Record(name, kind, address, socket.gethostname(), os.getpid(), time.time(), tls)
        self._put(self.path / _RECORD, json.dumps(asdict(record)))
        return record

    def read(self) -> Record | None:
        """Return what runs here; None if nothing does.

        Raises
        ------
        ClusterError
            If what it says of itself cannot be read.
        """
        if not self.is_taken:
            # What is written there is of one that was killed.
            return None
        path = self.path / _RECORD
        try:
            return Record(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(f"{path} cannot be read ({error}): stop that cluster") from error

    def put_certificate(self, certificate: str, key: str) -> None:
        """Write the certificate and its key; nobody else may read them."""
        self._put(self.ca_file, certificate)
        self._put(self.key_file, key)

    def _put(self, path: Path, text: str) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=".")
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read.
        Path(temporary).replace(path)


def _locked(lock: IO[str], *, seconds: float) -> bool:
    """Lock a file; whoever looks whether somebody has locked it does so for a moment, too."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_ASIDE_SECONDS / 20)
        else:
            return True


def standing_place(folder: Path, name: str) -> Place:
    """Return the folder of a cluster that outlives the command that uses it."""
    return Place(folder.absolute() / name)


def passing_place(folder: Path, name: str) -> Place:
    """Return a new folder for a cluster that ends with its command."""
    return Place(folder.absolute() / f"{name}.{os.getpid()}-{secrets.token_hex(3)}")


def passing_places(folder: Path, name: str) -> list[Place]:
    """Return the folders of clusters that end with their commands, and are running."""
    return [
        place
        for path in sorted(folder.absolute().glob(f"{name}.*"))
        if path.is_dir() and (place := Place(path)).is_taken
    ]


def abandoned(folder: Path, name: str) -> list[Place]:
    """Return the folders of clusters whose commands were killed."""
    return [
        place
        for path in sorted(folder.absolute().glob(f"{name}.*"))
        # One that is just being made has no lock yet.
        if path.is_dir()
        and not (place := Place(path)).is_taken
        and time.time() - path.stat().st_mtime > _YOUNG_SECONDS
    ]


def remove(place: Place) -> None:
    """Remove the folder of a cluster that is over."""
    shutil.rmtree(place.path, ignore_errors=True)
