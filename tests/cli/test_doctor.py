"""Examining a machine on the command line."""

import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Forebay
from tests.cluster.node.machines import SERVER, WORKSTATION, build

from forebay import ExitCode
from forebay.cli.machine import services
from forebay.config import load_settings

FULL = """
[acquisition.scheduling]
cores = [2, 3]

[clusters.laboratory]
kind = "address"
address = "tcp://127.0.0.1:8786"

[engine]
ledger = "postgresql+psycopg://me:secret@db.example.org/forebay"

[node]
role = "compute"
services = ["tcp://archive.example.org:443", "s3://runs/2026", "slurm"]
"""


def test_a_machine_is_examined(forebay: Forebay, tmp_path: Path) -> None:
    """What is wrong ends with a code of its own, and says why it matters and what to do."""
    root = build(tmp_path / "root", WORKSTATION)
    told = forebay("doctor", "--role", "acquisition", "--root", root)
    assert told.code == ExitCode.INCOMPLETE
    assert "wrong: dirty data vm.dirty_bytes\n  why: At this limit every program" in told.out
    assert "could be better: I/O scheduler (sda)\n" in told.out
    assert told.out.splitlines()[-1].startswith("as a machine for acquisition: ")


def test_a_good_machine_ends_with_code_0(forebay: Forebay, tmp_path: Path) -> None:
    """Unless --strict asks for more."""
    root = build(tmp_path / "root", SERVER)
    told = forebay("doctor", "--role", "compute", "--root", root, "--json")
    assert told.code == ExitCode.DONE
    *findings, summary = told.json
    assert summary["role"] == "compute"
    assert (summary["wrong"], summary["could be better"]) == (0, 2)
    assert summary["ok"] + summary["could be better"] + summary["cannot be told"] == len(findings)
    assert findings[0] == {
        "check": "processor governor",
        "subject": "cores 0-15",
        "verdict": "ok",
        "found": "performance on 16 of 16 cores",
        "wanted": "performance",
        "why": findings[0]["why"],
        "mend": findings[0]["mend"],
        "reads": ["sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"],
    }
    strict = forebay("doctor", "--role", "compute", "--root", root, "--strict")
    assert strict.code == ExitCode.INCOMPLETE


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), ExitCode.USAGE, "say what the machine is for: --role acquisition, compute, storage"),
        (("--role", "camera"), ExitCode.USAGE, "there is no role 'camera'; there are acquisition"),
        (("--role", "compute", "--root", "none"), ExitCode.INPUT, "there is no folder none"),
    ],
)
def test_mistakes_are_told(
    forebay: Forebay, words: tuple[str, ...], code: ExitCode, message: str
) -> None:
    refused = forebay("doctor", *words)
    assert refused.code == code
    assert message in refused.error


def test_the_settings_say_what_the_machine_is_for(forebay: Forebay, tmp_path: Path) -> None:
    """And which services it has to reach; only those are connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        (tmp_path / "forebay.toml").write_text(
            f'[node]\nrole = "storage"\nservices = ["tcp://{address}"]\n'
        )
        root = build(tmp_path / "root", SERVER)
        told = forebay("doctor", "--root", root, "--json").json
        assert told[-1]["role"] == "storage"
        asked = [each for each in told[:-1] if "reachable" in each["check"]]
        assert [each["found"] for each in asked] == [f"{address} takes connections"]
    silent = forebay("doctor", "--root", root, "--no-connect", "--json").json
    assert not [each for each in silent[:-1] if "reachable" in each["check"]]


def test_services_come_from_the_configuration_alone(tmp_path: Path) -> None:
    """Clusters, the ledger's host without its password, and what is listed."""
    path = tmp_path / "forebay.toml"
    path.write_text(FULL)
    settings = load_settings(path, environ={}).settings
    environ = {"AWS_REGION": "eu-central-1"}
    found = [(each.name, each.kind, each.address) for each in services(settings, environ=environ)]
    assert found == [
        ("clusters.laboratory", "tcp", "127.0.0.1:8786"),
        ("engine.ledger", "tcp", "db.example.org:5432"),
        ("node.services", "tcp", "archive.example.org:443"),
        ("node.services", "s3", "s3://runs"),
        ("node.services", "slurm", ""),
    ]
    endpoints = {each.endpoint for each in services(settings, environ=environ) if each.kind == "s3"}
    assert endpoints == {"https://s3.eu-central-1.amazonaws.com"}
    own = services(settings, environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    assert {each.endpoint for each in own if each.kind == "s3"} == {"http://127.0.0.1:9000"}
    nothing = load_settings(environ={}, folder=Path("/")).settings
    assert services(nothing) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('interfaces = ["../eth0"]', "'../eth0' is no name of a network interface"),
        ('services = ["ftp://x"]', "'ftp://x' is none of 's3://BUCKET', 'tcp://HOST:PORT'"),
        ('group = "a b"', "'a b' is no name of a group of users"),
        (
            'role = "camera"',
            "node.role = 'camera': it must be 'acquisition', 'compute' or 'storage'",
        ),
    ],
)
def test_settings_of_the_machine_are_checked(
    forebay: Forebay, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "forebay.toml").write_text(f"[node]\n{text}\n")
    refused = forebay("doctor")
    assert refused.code == ExitCode.USAGE
    assert message in refused.error
