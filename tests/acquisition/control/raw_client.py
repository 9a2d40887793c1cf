"""A client of a control socket that knows nothing but bytes and lines."""

import json
import socket
from pathlib import Path
from typing import Any, Self

from tests.acquisition.control.conftest import RUN, SECONDS


class RawClient:
    """Sends bytes, and reads lines."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(SECONDS)
        self.socket.connect(str(folder / f"{RUN}.sock"))
        self.lines = self.socket.makefile("rb")

    def ask(self, line: bytes) -> dict[str, Any]:
        self.socket.sendall(line + b"\n")
        return self.read()

    def read(self) -> dict[str, Any]:
        answer = json.loads(self.lines.readline())
        assert isinstance(answer, dict)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.lines.close()
        self.socket.close()
