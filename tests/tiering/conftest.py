"""Tiers to move runs between."""

import asyncio
import inspect
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.acquisition.storage.seaweedfs import running_seaweedfs
from tests.acquisition.storage.server import BUCKET, Line, relayed, running_server
from tests.engine.queue import servers as postgresql
from tests.tiering.site import Site, forget_tiers

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
def moto_server() -> Iterator[int]:
    """The port of a server that knows what AWS knows: archives, versions, regions."""
    with running_server() as port:
        yield port


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[int]:
    """The port of a server that people keep their data on, and that checks who signs."""
    with running_seaweedfs(BUCKET) as port:
        yield port


@pytest.fixture
def server(request: pytest.FixtureRequest) -> int:
    """The port of an S3 server; tests that say so take each of them."""
    port: int = request.getfixturevalue(f"{getattr(request, 'param', 'moto')}_server")
    return port


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a place: flushes cost."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="fb-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server."""
    with postgresql.running_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_ledger(postgresql_server: postgresql.Server) -> Iterator[str]:
    """A database on a PostgreSQL server."""
    with postgresql_server.database("tiers") as url:
        yield url


@pytest.fixture
def empty_postgresql(postgresql_server: postgresql.Server) -> Iterator[str]:
    """A database on a PostgreSQL server without any tables."""
    with postgresql_server.database("empty") as url:
        yield url


@pytest.fixture
def ledger(request: pytest.FixtureRequest, quick: Path) -> Path | str:
    """Where the catalogue is kept, empty: in a file; tests that say so take PostgreSQL as well."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return quick / "ledger.sqlite"
    url: str = request.getfixturevalue("postgresql_ledger")
    forget_tiers(url)
    return url


@pytest.fixture
def site(quick: Path, ledger: Path | str) -> Iterator[Site]:
    """A laboratory with a hot, a warm and a cold tier, and one closed run in the hot one."""
    with Site(quick, ledger=ledger) as made:
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
