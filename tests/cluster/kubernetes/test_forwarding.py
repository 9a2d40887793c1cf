"""The port that leads to a scheduler in a pod, where kubectl does not last."""

import asyncio
import contextlib
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from forebay.cluster import ClusterError, KubernetesClusterSpecification
from forebay.cluster.kubernetes import forwarding
from forebay.cluster.kubernetes.forwarding import forwarded

SERVICE = "service/forebay-pods-1a2b3c-scheduler"
_KUBECTL = """#!{python} -SE
import os, signal, sys
folder = {folder!r}
with open(folder + "/calls", "a") as calls:
    calls.write(sys.argv[-2] + " " + str(os.getpid()) + "\\n")
number = len(open(folder + "/calls").readlines())
said = open(folder + "/says").read().split("|")[number - 1:]
if said and said[0] != "ends":
    sys.exit("error: " + said[0])
print("Forwarding from 127.0.0.1:41234 -> 8786", flush=True)
if said:
    sys.exit("error: lost connection to pod")
signal.pause()
"""


@pytest.fixture
def specification() -> KubernetesClusterSpecification:
    return KubernetesClusterSpecification(
        image="registry.example.org/forebay:1",
        memory="1 GiB",  # type: ignore[arg-type]  # pydantic makes a ByteSize of it
        maximum_workers=2,
    )


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a kubectl that ends, or fails, as often as its file tells."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "kubectl"
    script.write_text(_KUBECTL.format(python=sys.executable, folder=str(tmp_path)))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(forwarding, "_SHORTEST_PAUSE", 0.01)
    return tmp_path


def calls(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "calls").read_text().splitlines()]


async def eventually_said(caplog: pytest.LogCaptureFixture, words: str, times: int) -> None:
    end = time.monotonic() + 60
    while sum(words in each for each in caplog.messages) < times:
        assert time.monotonic() < end, caplog.messages
        await asyncio.sleep(0.02)


def test_it_is_forwarded_again_where_it_was(
    kubectl: Path,
    specification: KubernetesClusterSpecification,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether kubectl ends after a while or does not begin; nothing of it is left in the end."""
    (kubectl / "says").write_text("ends|no route to host|no route to host|ends")
    caplog.set_level(logging.WARNING, "forebay.cluster")

    async def used() -> None:
        async with forwarded(specification, "forebay-pods-1a2b3c", kubectl / "log") as port:
            assert port == 41234
            await eventually_said(caplog, f"leads to {SERVICE} again", 2)

    asyncio.run(used())
    assert [each[0] for each in calls(kubectl)] == [":8786", *["41234:8786"] * 4]
    with pytest.raises(ProcessLookupError):
        os.kill(int(calls(kubectl)[-1][1]), 0)
    lost = f"port 41234 does not lead to {SERVICE} any more"
    assert [each.partition(", it is tried again: ")[::2] for each in caplog.messages] == [
        (lost, "kubectl has ended: lost connection to pod"),
        # Said once, however often it is tried.
        (
            lost,
            f"kubectl does not forward a port to {SERVICE}: no route to host",
        ),
        (f"port 41234 leads to {SERVICE} again", ""),
        (lost, "kubectl has ended: lost connection to pod"),
        (f"port 41234 leads to {SERVICE} again", ""),
    ]


def test_one_that_does_not_begin_is_told_at_once(
    kubectl: Path, specification: KubernetesClusterSpecification
) -> None:
    """For what was asked for is wrong, rather than lost."""
    (kubectl / "says").write_text("services 'x' not found")

    async def used() -> None:
        async with forwarded(specification, "x", kubectl / "log"):
            raise AssertionError("there is nothing to forward to")

    with pytest.raises(ClusterError, match="not forward a port to service/x-scheduler: services"):
        asyncio.run(used())
    assert len(calls(kubectl)) == 1


def wait_until_it_has_ended(number: int) -> None:
    """Wait for a process, and leave its exit code to whoever has started it."""
    # Where it ended at once, that one may have its exit code already.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)


def test_one_that_has_just_ended_is_ended_without_a_word(
    kubectl: Path,
    specification: KubernetesClusterSpecification,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its exit code is for asyncio, which would log that somebody else has taken it."""
    (kubectl / "says").write_text("ends")

    async def used() -> None:
        begun = forwarding._Forwarding(specification, SERVICE, kubectl / "log")
        await begun.begin()
        # The loop does nothing meanwhile, and so does not know.
        wait_until_it_has_ended(int(calls(kubectl)[-1][1]))
        await begun.end()

    asyncio.run(used())
    assert caplog.messages == []
