"""Memory is registered with CUDA where there is a driver that takes it; where not, that is said.

The driver is a small library that is compiled here, which writes down what is asked of it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import forebay
from forebay.acquisition.memory import cuda
from forebay.acquisition.memory.cuda import pinned_for_cuda
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources import Scene, SimulatedSource

DRIVER = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
static int said(const char *text, uintptr_t value)
{
    FILE *file = fopen(getenv("FAKE_CUDA"), "a");
    fprintf(file, "%s %lu\\n", text, (unsigned long)value);
    fclose(file);
    return 0;
}
int cuInit(unsigned flags) { return said("init", flags); }
int cuDeviceGet(int *device, int place) { *device = 7; return said("device", place); }
int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = (void *)0x123456789abcdef0; return said("retain", device); }
int cuDevicePrimaryCtxRelease_v2(int device) { return said("release", device); }
int cuCtxPushCurrent_v2(void *context) { return said("push", (uintptr_t)context); }
int cuCtxPopCurrent_v2(void **context) { *context = 0; return said("pop", 0); }
int cuMemHostRegister_v2(void *address, size_t length, unsigned flags) {
    if (getenv("FAKE_CUDA_FULL")) return 2;
    said("flags", flags); said("length", length); return said("register", (uintptr_t)address); }
int cuMemHostUnregister(void *address) { return said("unregister", (uintptr_t)address); }
int cuGetErrorString(int code, const char **text) { *text = "out of memory"; return 0; }
"""
CONTEXT = 0x123456789ABCDEF0
BEGIN = [("init", 0), ("device", 0), ("retain", 7), ("push", CONTEXT)]
END = [("pop", 0), ("release", 7)]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is asked of the driver is written down."""
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(DRIVER)
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=120)
    monkeypatch.setattr(cuda, "_LIBRARY", str(library))
    monkeypatch.setenv("FAKE_CUDA", str(tmp_path / "asked"))
    return tmp_path / "asked"


def asked(of: Path) -> Iterator[tuple[str, int]]:
    for line in of.read_text().splitlines():
        what, value = line.split()
        yield what, int(value)


def test_memory_is_registered_for_the_time_of_the_block(driver: Path) -> None:
    """The whole of it, for all contexts; and everything is taken back."""
    memory = np.zeros(2**16, np.uint8)
    address = memory.ctypes.data
    with pinned_for_cuda(memory) as refusal:
        assert refusal is None
        registered = [("flags", 1), ("length", 2**16), ("register", address)]
        assert list(asked(driver)) == [*BEGIN, *registered]
    assert list(asked(driver)) == [*BEGIN, *registered, ("unregister", address), *END]


def test_a_driver_that_refuses_is_named_and_nothing_is_left(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FULL", "1")
    with pinned_for_cuda(np.zeros(64, np.uint8)) as refusal:
        assert refusal is not None
        assert (
            "64 bytes of memory for CUDA is refused (cuMemHostRegister_v2: out of memory (2))"
            in (refusal)
        )
        assert list(asked(driver)) == [*BEGIN, *END]
    assert list(asked(driver)) == [*BEGIN, *END]


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    with pinned_for_cuda(np.zeros(64, np.uint8)) as refusal:
        assert refusal is not None
        assert "libcuda-that-is-not-there" in refusal


@pytest.mark.parametrize("wished", [False, True])
def test_a_recording_pins_its_ring_where_that_is_wished(
    driver: Path, tmp_path: Path, wished: bool
) -> None:
    """It is the whole ring, before a frame comes; and nothing of CUDA is touched otherwise."""
    source = SimulatedSource(Scene(shape=(16, 16), emitters=1), frames=4)
    settings = AcquisitionSettings.model_validate(
        {"scheduling": {"pin_memory": wished}, "buffer_bytes": 2**22}
    )
    status = forebay.acquire(source, tmp_path / "run", settings=settings)
    assert (status.committed, status.warnings) == (4, ())
    assert driver.exists() == wished
    if wished:
        done = dict(asked(driver))
        assert done["length"] >= 2**22 - 2**12
        assert done["register"] == done["unregister"] != 0


def test_a_recording_without_a_driver_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    source = SimulatedSource(Scene(shape=(16, 16), emitters=1), frames=4)
    settings = AcquisitionSettings.model_validate({"scheduling": {"pin_memory": True}})
    status = forebay.acquire(source, tmp_path / "run", settings=settings)
    assert status.committed == 4
    assert any("for CUDA is refused" in each for each in status.warnings)
