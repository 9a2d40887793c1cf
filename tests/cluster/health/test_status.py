"""``forebay cluster status``: who works for a cluster that runs, and who is not fit to."""

import json
from pathlib import Path

import pytest
from tests.cluster.test_address import running
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.cluster.client import client_of, known_workers
from forebay.cluster.health import complaint, holding
from forebay.cluster.health.watch import at_scheduler


def told(*words: str) -> tuple[int, str]:
    """Return the exit code and the words of a command."""
    outcome = CliRunner().invoke(app, ["cluster", "status", *words])
    return outcome.exit_code, outcome.output


def test_workers_that_take_no_work_are_shown_with_the_reason(
    warmed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a scheduler that is joined by its address; looking changes nothing."""
    monkeypatch.chdir(tmp_path)
    with running(warmed, tmp_path) as address, client_of(address) as client:
        client.wait_for_workers(1, timeout=60)
        settings = f'[clusters.theirs]\nkind = "address"\naddress = "{address}"\ntimeout = 60\n'
        (tmp_path / "forebay.toml").write_text(settings)
        code, said = told("theirs", "--json")
        assert code == 0, said
        shown = json.loads(said)
        (worker,) = known_workers(client)
        assert (shown["address"], shown["threads"]) == (worker, 1)
        assert (shown["state"], shown["complaint"]) == ("takes work", "")
        why = "its disk is full: 1 MiB are free in /tmp"
        client.sync(at_scheduler, client, holding.change, hold={worker: why}, release=())  # type: ignore[no-untyped-call]
        code, said = told("theirs")
        assert code == 0, said
        assert "its disk is full" in " ".join(said.split())
        # What is wrong is shown, too, where nobody watches.
        client.sync(at_scheduler, client, holding.change, hold={}, release=[worker])  # type: ignore[no-untyped-call]
        monkeypatch.setattr(complaint, "MOST_SKEW", -1.0)
        (shown,) = [json.loads(line) for line in told("theirs", "--json")[1].splitlines()]
        assert shown["complaint"].startswith("its clock is off by")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("local", "no cluster local of kind local is kept running: its workers belong to the"),
        ("nodes", "no cluster nodes of kind slurm is kept running: 'forebay cluster start nodes'"),
    ],
)
def test_a_cluster_that_does_not_run_has_no_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    slurm = '[clusters.nodes]\nkind = "slurm"\nmaximum_workers = 1\nmemory_limit = "1 GiB"\n'
    (tmp_path / "forebay.toml").write_text(slurm)
    code, said = told(name)
    assert code == 3
    assert why in " ".join(said.split())
