"""Sources in a runtime folder of the test's own, and programs that write into their memory."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.acquisition.sources.shared_memory.programs import RawProducer, compile_example

from forebay.acquisition import Frame
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.sources.shared_memory import SharedMemorySource

type Open = Callable[..., SharedMemorySource]
type Connect = Callable[..., RawProducer]
type Deliver = Callable[..., Future[None]]
type Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled as C."""
    return compile_example("gcc", "-std=c11", to=tmp_path_factory.mktemp("camera") / "camera")


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets lie during the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "forebay"


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """What is to be closed after the test."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def listen(opened: contextlib.ExitStack) -> Open:
    """Open a source; it is closed after the test."""
    return lambda **options: opened.enter_context(SharedMemorySource("camera", **options))


@pytest.fixture
def connect(opened: contextlib.ExitStack, runtime_folder: Path) -> Connect:
    """Connect a producer that is made from the reference page; it is closed after the test."""

    def connect_one(**hello: Any) -> RawProducer:
        producer = opened.enter_context(RawProducer(runtime_folder / "camera.ring"))
        producer.say_hello(**hello)
        return producer

    return connect_one


@pytest.fixture
def deliver(opened: contextlib.ExitStack) -> Deliver:
    """Let a source deliver into a ring, in a thread of its own."""
    threads = opened.enter_context(ThreadPoolExecutor())

    def start(
        source: SharedMemorySource,
        ring: FrameRing,
        receive: Callable[[Frame], Frame | None] = lambda frame: frame,
    ) -> Future[None]:
        opened.callback(source.stop)
        return threads.submit(source.deliver_into, ring, receive)

    return start


@pytest.fixture
def run(camera: Path) -> Iterator[Run]:
    """Run the example; it is killed after the test."""
    with contextlib.ExitStack() as running:

        def start(
            *, width: int = 8, height: int = 6, frames: int, rate: float = 0, program: Path = camera
        ) -> subprocess.Popen[str]:
            words = [str(word) for word in (program, "camera", width, height, frames, rate)]
            process = running.enter_context(
                subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            )
            running.callback(process.kill)
            return process

        yield start
