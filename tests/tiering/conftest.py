"""Tiers to move runs between."""

import asyncio
import inspect
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.acquisition.storage.server import BUCKET, Line, relayed, running_server
from tests.tiering.site import Site

from forebay.tiering import connect


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutines, as those are that Zarr publishes for stores."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of an S3 server."""
    with running_server() as port:
        yield port


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a place: flushes cost."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="fb-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def site(quick: Path) -> Iterator[Site]:
    """A laboratory with a hot, a warm and a cold tier, and one closed run in the hot one."""
    with Site(quick) as made:
        made.record("water")
        yield made


@pytest.fixture
def line() -> Line:
    """What decides of the requests that are made of the S3 server."""
    return Line()


@pytest.fixture
def bucket(server: int, line: Line, quick: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a prefix of the bucket, reached by way of the line; what fails is soon tried again."""
    quickly = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=5),
        "backoff": {
            "init_backoff": timedelta(milliseconds=1),
            "max_backoff": timedelta(milliseconds=2),
            "base": 2,
        },
    }
    monkeypatch.setattr(connect, "RETRIES", quickly)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with relayed(server, line) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield f"s3://{BUCKET}/{quick.name}"
