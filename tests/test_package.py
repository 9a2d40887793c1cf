"""The wheel and the source distribution can be installed, and then they work."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import forebay

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.whole


def find_uv() -> str:
    """Return the uv that made this environment."""
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.is_file() else None)
    if found is None:
        pytest.skip("there is no uv here")
    return found


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [find_uv(), "build", "--quiet", "--out-dir", str(folder), "--python", sys.executable],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_holds_every_folder_once_as_a_subpackage(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("acquisition", "cluster", "engine", "ops", "tiering", "cli"):
        assert f"forebay/{folder}/__init__.py" in names
    assert "forebay/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"forebay", f"forebay-{forebay.__version__}.dist-info"}


@pytest.mark.timeout(300)
def test_an_empty_environment_runs_what_was_installed(distributions: Path, tmp_path: Path) -> None:
    """The wheel runs there, and the source distribution puts the same in its place."""
    (wheel,) = distributions.glob("*.whl")
    (source,) = distributions.glob("*.tar.gz")
    environment = tmp_path / "environment"
    python, program = environment / "bin" / "python", environment / "bin" / "forebay"
    uv = find_uv()

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in words]
        ours = {"PYTHONPATH", "UV_PYTHON", "VIRTUAL_ENV"}
        clean = {name: value for name, value in os.environ.items() if name not in ours}
        return subprocess.run(
            command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
        )

    def installed() -> set[str]:
        """Return the files with their digests; what depends on where they came from is left out."""
        (record,) = environment.glob("lib/python*/site-packages/forebay-*.dist-info/RECORD")
        kept = ("METADATA", "entry_points.txt")
        lines = record.read_text().splitlines()
        files = {line.partition(",")[0]: line for line in lines}
        return {files[name] for name in files if name[:8] == "forebay/" or name.endswith(kept)}

    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    run(uv, "pip", "install", "--quiet", "--python", python, wheel)
    assert run(program, "--version").stdout == f"forebay {forebay.__version__}\n"
    recorded = run(
        program, "acquire", "simulated:shape=32x32,emitters=2", "run", "--frames", 4, "--json"
    )
    assert json.loads(recorded.stdout.splitlines()[-1])["committed"] == 4
    processed = run(program, "process", "run", "find-particles", "--cluster", "none", "--json")
    assert json.loads(processed.stdout.splitlines()[-1])["frames"] == 4
    from_wheel = installed()
    assert len(from_wheel) > 200
    run(uv, "pip", "uninstall", "--quiet", "--python", python, "forebay")
    assert not program.exists()
    run(uv, "pip", "install", "--quiet", "--python", python, source)
    assert installed() == from_wheel
    assert run(program, "--version").stdout == f"forebay {forebay.__version__}\n"
