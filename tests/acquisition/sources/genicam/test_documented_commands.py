"""The commands of the page about cameras, against the fake one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.camera

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "genicam-cameras.md"


@pytest.mark.timeout(300)
def test_the_page_about_cameras_runs(network: bool, tmp_path: Path) -> None:
    """All of what it says to try without a camera."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (session,) = [block for block in blocks if "127.0.0.1" in block]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"committed\D+100\b", ended.stdout), ended.stdout
