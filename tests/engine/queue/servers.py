"""A real PostgreSQL server on loopback, for as long as the tests last."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.ports import free_port

_START_SECONDS = 120.0
_ENOUGH_BYTES = 1 << 30
_USER = "forebay"


class Server:
    """A PostgreSQL server that listens on loopback.

    Parameters
    ----------
    port
        Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self._port}/{name}"

    def execute(self, statement: str, *, name: str = "postgres") -> None:
        """Execute a statement in a database."""
        with self.connect(name) as connection:
            connection.execute(statement.encode())

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection that commits each statement."""
        where = f"host=127.0.0.1 port={self._port} user={_USER} dbname={name} connect_timeout=5"
        return psycopg.connect(where, autocommit=True)

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database for the time of the block, and give its URL."""
        self.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def quick_folder() -> Path | None:
    """Return where files lie in memory, if there is room; None for the usual temporary folder."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ENOUGH_BYTES:
        return memory
    return None


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server for the time of the block; skip the test where there is none to start."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here: there is no initdb")
    with tempfile.TemporaryDirectory(prefix="fb-", dir=quick_folder()) as temporary:
        folder = Path(temporary)
        owner = _owner()
        if owner is not None:
            # PostgreSQL does not run as root.
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        made = [
            *(str(programs / "initdb"), f"--pgdata={data}", f"--username={_USER}"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **_as(owner))
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "shared_buffers": "32MB",
        }
        command = [str(programs / "postgres"), "-D", str(data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, start_new_session=True, **_as(owner)
            )
            server = Server(port)
            try:
                _wait_until_it_answers(server, process, folder / "log")
                yield server
            finally:
                # A fast shutdown: it ends its connections and writes everything down.
                process.send_signal(signal.SIGINT)
                process.wait(60)


def _programs() -> Path | None:
    """Return the folder with PostgreSQL's programs: of the PATH, or Debian's newest."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    return None


def _owner() -> pwd.struct_passwd | None:
    """Return whom the server runs as, where that cannot be oneself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _as(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    if owner is None:
        return {}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.02)
        else:
            return
