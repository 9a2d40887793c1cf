"""Opening what lies at a path or a URL, for reading."""

import asyncio
import os
import pickle
from pathlib import Path

import numpy as np
import obstore.store
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError, PermissionDeniedError
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.errors import RunNotFoundError
from forebay.errors import ExitCode
from forebay.opening import open_run
from forebay.tiering import PlaceUnavailableError, TieringError, UnknownPlaceError, open_store
from forebay.tiering.url_store import UrlStore

PIXELS = np.random.default_rng(3).integers(0, 60000, (7, 5, 6)).astype("uint16")


def write(path: Path, *, until: int = 7) -> RunWriter:
    writer = RunWriter.create(
        path, Geometry(("y", "x"), (5, 6), np.dtype("uint16")), frames_per_block=3
    )
    for counter, frame in enumerate(PIXELS[:until]):
        writer.append(Frame(counter, counter, frame))
    return writer


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder of 100 % ü"
    folder.mkdir()
    write(folder / "run").close()
    return folder / "run"


@pytest.fixture(params=["path", "string", "url"])
def location(request: pytest.FixtureRequest, run_path: Path) -> str | Path:
    ways: dict[str, str | Path] = {
        "path": run_path,
        "string": str(run_path),
        "url": run_path.as_uri(),
    }
    return ways[request.param]


def test_a_run_is_the_same_by_its_path_and_by_its_url(location: str | Path) -> None:
    """The same pixels, counters and state come from both."""
    run = open_run(location)
    np.testing.assert_array_equal(run.frames.to_numpy(), PIXELS)
    assert run.frames.frame_id.to_numpy().tolist() == list(range(7))
    assert run.closed


def test_a_store_can_be_sent_to_a_worker(location: str | Path) -> None:
    """What was opened here is read there."""
    sent = pickle.loads(pickle.dumps(open_store(location)))
    assert sent == open_store(location)
    run = pickle.loads(pickle.dumps(open_run(location)))
    np.testing.assert_array_equal(run.frames.to_numpy(), PIXELS)


def test_a_store_is_for_reading(location: str | Path) -> None:
    """Nothing that is opened by its location can be written by mistake."""
    store = open_store(location)
    assert store.read_only
    buffer = default_buffer_prototype().buffer.from_bytes(b"x")
    with pytest.raises(ValueError, match="read-only"):
        asyncio.run(store.set("zarr.json", buffer))


def test_a_run_that_grows_is_followed_by_its_url(tmp_path: Path) -> None:
    """Refreshing gives what was committed since, and the same where nothing was."""
    writer = write(tmp_path / "live", until=4)
    run = open_run((tmp_path / "live").as_uri())
    assert run.history.frames == 3
    assert run.refresh().history.frames == 3
    for counter in (4, 5, 6):
        writer.append(Frame(counter, counter, PIXELS[counter]))
    assert run.refresh().history.frames == 6
    writer.close()
    grown = run.refresh().refresh()
    assert grown.closed
    np.testing.assert_array_equal(grown.frames.to_numpy(), PIXELS)


def test_a_run_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """Whichever way it is given, one line says so, and what to do."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        for location in (path, str(path), path.as_uri()):
            with pytest.raises(RunNotFoundError) as refusal:
                open_store(location)
            assert str(refusal.value) == (
                f"{path} is not a run: there is no such folder; check the name and the runs folder"
            )


@pytest.mark.parametrize(
    "location",
    [
        "ftp://host/run",
        "http://host/run",
        "s3://",
        "s3:///run",
        "memory://x",
        "S4://b/c",
        "://",
        "s3://bucket/run?versionId=3",
        "az://container/run#1",
    ],
)
def test_a_url_of_another_kind_is_refused(location: str) -> None:
    """With the kinds that there are."""
    with pytest.raises(UnknownPlaceError) as refusal:
        open_store(location)
    message = str(refusal.value)
    assert message.startswith(f"{location} is not a place that can be read")
    assert all(scheme in message for scheme in ("s3://", "gs://", "az://", "file://"))
    assert "\n" not in message
    assert refusal.value.exit_code is ExitCode.USAGE
    assert isinstance(refusal.value, TieringError)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of any cloud."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("nobody")
def test_an_object_store_goes_by_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages say what was asked for, and never a key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for url in ("s3://bucket/runs/water", "gs://bucket/runs/water"):
        store = open_store(f"{url}/")
        assert str(store) == url
        assert repr(store) == f"<TieredStore '{url}'>"
        assert store.read_only


@pytest.mark.usefixtures("nobody")
def test_an_object_store_that_needs_more_is_refused_in_one_line() -> None:
    """Azure's containers belong to an account, which nobody named here."""
    with pytest.raises(PlaceUnavailableError, match="Account must be specified") as refusal:
        open_store("az://container/run")
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code is ExitCode.INPUT


@pytest.mark.usefixtures("nobody")
def test_an_object_store_that_does_not_answer_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody listens at the endpoint: the run is not missing, it cannot be reached."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(PlaceUnavailableError) as refusal:
        open_run("s3://bucket/run")
    message = str(refusal.value)
    assert message.startswith("s3://bucket/run cannot be read: check the network, and")
    assert "\n" not in message
    assert "AKIAEXAMPLE" not in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        (PermissionDeniedError("no\n\nDebug source:\nRust"), "whether they may read this (no)"),
        (GenericError("gone\n\nDebug source:\nRust"), "endpoint in the environment (gone)"),
    ],
)
def test_what_an_object_store_says_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, remedy: str
) -> None:
    """In every way of reading: whole, in part, its size, whether it is there, and names."""

    async def fail(*_: object, **__: object) -> None:
        raise failure

    for function in ("get", "get_range", "head", "list_with_delimiter"):
        monkeypatch.setattr(f"obstore.{function}_async", fail)
    store = open_store(tmp_path.as_uri())

    async def names() -> list[str]:
        return [name async for name in store.list_dir("")]

    prototype = default_buffer_prototype()
    for reading in (
        store.get("a", prototype),
        store.get("a", prototype, RangeByteRequest(0, 1)),
        store.get("a", prototype, SuffixByteRequest(1)),
        store.getsize("a"),
        store.exists("a"),
        names(),
    ):
        with pytest.raises(PlaceUnavailableError) as refusal:
            asyncio.run(reading)
        assert str(refusal.value).startswith(f"{tmp_path.as_uri()} cannot be read: check")
        assert str(refusal.value).endswith(remedy)


REQUESTS: st.SearchStrategy[ByteRequest | None] = st.one_of(
    st.none(),
    st.builds(
        lambda start, length: RangeByteRequest(start, start + length),
        st.integers(0, 8),
        st.integers(1, 8),
    ),
    st.builds(OffsetByteRequest, st.integers(0, 8)),
    st.builds(SuffixByteRequest, st.integers(1, 4)),
)


@given(request=REQUESTS, key=st.sampled_from(["object", "nothing", "folder/inner"]))
def test_any_range_of_an_object_is_what_it_is_in_a_folder(
    stores: tuple[Store, Store, Store], request: ByteRequest | None, key: str
) -> None:
    """Also at the end of the object and behind it, and where there is no object."""
    answers = []
    for store in stores:
        buffer = asyncio.run(store.get(key, default_buffer_prototype(), request))
        answers.append(None if buffer is None else buffer.to_bytes())
    assert answers[0] == answers[1] == answers[2]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store, Store]:
    """The same objects in a folder, behind a file:// URL, and in an object store in memory."""
    folder = tmp_path_factory.mktemp("objects")
    memory = obstore.store.MemoryStore()
    for key, content in {"object": b"01234", "folder/inner": b"abcdef"}.items():
        (folder / key).parent.mkdir(exist_ok=True)
        (folder / key).write_bytes(content)
        obstore.put(memory, key, content)
    return (
        LocalStore(folder, read_only=True),
        open_store(folder.as_uri()),
        UrlStore(memory, url="memory:///"),
    )


def test_names_under_a_prefix_are_those_of_a_folder(stores: tuple[Store, Store, Store]) -> None:
    """One level of them, whatever they lie in."""

    async def names(store: Store, prefix: str) -> list[str]:
        return sorted([name async for name in store.list_dir(prefix)])

    for prefix in ("", "folder", "none"):
        first, second, third = (asyncio.run(names(store, prefix)) for store in stores)
        assert first == second == third
