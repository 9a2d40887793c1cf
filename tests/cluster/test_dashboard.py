"""Dask's dashboard: none but the scheduler's, on the loopback, told where it is, and ended at once."""

import asyncio
import re
import socket
from types import SimpleNamespace
from typing import Any

import dask
import pytest

from forebay.cli.commands.process import cluster_client
from forebay.cluster import LocalClusterSpecification, connect
from forebay.cluster.local import start

THREADS = LocalClusterSpecification(workers=1, processes=False)
PROCESSES = LocalClusterSpecification(workers=1)


@pytest.mark.parametrize("specification", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_workers_have_no_dashboard(specification: LocalClusterSpecification) -> None:
    """Where bokeh is installed a local cluster would give each of them one."""

    def has_one(dask_worker: Any) -> bool:
        return bool(dask_worker._dashboard)

    with connect(specification) as connected:
        client: Any = connected
        assert set(client.run(has_one).values()) == {False}


def test_a_scheduler_does_not_wait_for_its_dashboard() -> None:
    """From 3.10 on bokeh refuses to be waited for in the loop that it runs in."""

    class Pages:
        ended = False

        def stop(self, wait: bool = True) -> None:
            if wait:
                raise RuntimeError("Cannot synchronously wait on a running event loop")
            self.ended = True

    pages = Pages()
    http = SimpleNamespace(applications=[pages, object()])
    asyncio.run(start._end_dashboard_at_once(SimpleNamespace(http_application=http)))
    pages.stop()
    assert pages.ended


def test_it_is_told_where_the_dashboard_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's own Dask configuration changes nothing of that."""
    monkeypatch.setattr(start, "find_spec", lambda name: name)
    clusters = {"here": THREADS.model_copy(update={"dashboard": True})}
    call: Any = SimpleNamespace(settings=SimpleNamespace(clusters=clusters))
    elsewhere = {"distributed.dashboard.link": "http://example.org:{port}/status"}
    with dask.config.set(elsewhere), cluster_client(call, "here"):
        told = capsys.readouterr().err
        found = re.search(r"http://127\.0\.0\.1:(\d+)/status; .* ssh -N -L (\d+):", told)
        assert found is not None, told
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10):
            assert found[1] == found[2]
