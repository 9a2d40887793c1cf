"""A PostgreSQL server that can be killed and started again on the same port and data."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.faults.site import in_session, until
from tests.engine.queue import servers
from tests.ports import free_port


class MortalServer(servers.Server):
    """A PostgreSQL server that can be killed.

    Parameters
    ----------
    folder
        Its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(free_port())
        programs = servers._programs()
        if programs is None:
            pytest.skip("PostgreSQL is not installed here: there is no initdb")
        self._folder = folder
        self._owner = servers._as(servers._owner())
        data = str(folder / "data")
        made = [
            *(str(programs / "initdb"), f"--pgdata={data}", f"--username={servers._USER}"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **self._owner)
        self._command = [
            *(str(programs / "postgres"), "-D", data, "-p", str(self._port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
            # What a killed process has written is there; to see to every file takes long at a start.
            *("-c", "shared_buffers=32MB", "-c", "fsync=off"),
        ]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._owner,
            )
        servers._wait_until_it_answers(self, self._process, self._folder / "log")

    def kill(self) -> None:
        """Kill its first process; the others see that and end."""
        self._process.kill()
        self._process.wait()
        until(lambda: not in_session(self._process.pid), "the server's end")

    def stop(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)


@contextlib.contextmanager
def mortal_server() -> Iterator[MortalServer]:
    """Start a server for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="fb-postgresql-") as temporary:
        folder = Path(temporary)
        owner = servers._owner()
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = MortalServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
