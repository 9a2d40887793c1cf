"""Workers for GPUs: what dask-cuda is given, by what GPUs are next to; no GPU is needed."""

import copy
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import LocalCluster
from tests.cluster.node.machines import Files, Link, build, pci
from tests.cluster.processes import children

from forebay.cluster import ClusterError, LocalCudaClusterSpecification, connect
from forebay.cluster.local_cuda import start
from forebay.cluster.local_cuda.links import GpuPlace, gpu_places
from forebay.cluster.local_cuda.nearest import choose
from forebay.cluster.local_cuda.options import command_of, options_of
from forebay.cluster.node.machine import Machine

GPU, CARD = 0x030200, 0x020700
BUSES = ("00000000:3B:00.0", "00000000:AF:00.0")


def port(name: str, route: str, state: str = "4: ACTIVE") -> Files:
    return {
        f"sys/class/infiniband/{name}/device": Link(f"../../../devices/{route}"),
        f"sys/class/infiniband/{name}/ports/1/state": f"{state}\n",
    }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two GPUs, each with a card on its own NUMA node, and a third card that is not in use."""
    files = {
        **pci("pci0000:3a/0000:3b:00.0", GPU, 0x10DE, node=0),
        **pci("pci0000:3a/0000:3c:00.0", CARD, 0x15B3, node=0),
        **pci("pci0000:ae/0000:af:00.0", GPU, 0x10DE, node=1),
        **pci("pci0000:ae/0000:b0:00.0", CARD, 0x15B3, node=1),
        **pci("pci0000:ae/0000:b1:00.0", CARD, 0x15B3, node=1),
        **port("mlx5_0", "pci0000:ae/0000:b0:00.0", "1: DOWN"),
        **port("mlx5_1", "pci0000:3a/0000:3c:00.0"),
        **port("mlx5_2", "pci0000:ae/0000:b1:00.0"),
        "sys/devices/system/node/node0/cpulist": "0-15\n",
        "sys/devices/system/node/node1/cpulist": "16-31\n",
    }
    return Machine(build(tmp_path / "machine", files))


class NvmlError(Exception): ...


def nvml(*, nvlink: bool = True, gpus: int = 2) -> Any:
    """Return NVIDIA's library over GPUs that are, or are not, linked to each other."""

    def by_index(number: int) -> int:
        if number >= gpus:
            raise NvmlError("there is no such GPU")
        return number

    def state(handle: int, link: int) -> int:
        if not nvlink:
            raise NvmlError("not supported")
        return int(link == 1)

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetHandleByUUID=lambda name: ("GPU-a", "GPU-b").index(name),
        nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(busId=BUSES[handle].encode()),
        nvmlDeviceGetNvLinkState=state,
    )


def specification(**given: Any) -> LocalCudaClusterSpecification:
    return LocalCudaClusterSpecification.model_validate(given)


def test_what_gpus_are_next_to_is_found(machine: Machine) -> None:
    """Cores by the NUMA node, the port in use that is nearest, and links to other GPUs."""
    assert gpu_places(machine, nvml(), [0, 1]) == (
        GpuPlace(0, True, 0, "0-15", "mlx5_1:1"),
        GpuPlace(1, True, 1, "16-31", "mlx5_2:1"),
    )


def test_with_ucx_what_is_found_is_used(machine: Machine) -> None:
    """And the command of each worker says the same as the options of the cluster."""
    wanted = specification(
        protocol="ucx", device_memory_limit="60 GiB", rmm_pool_size="70 GiB", memory_limit="32 GiB"
    )
    places = gpu_places(machine, nvml(), [0, 1])
    options = options_of(wanted, places)
    assert options["CUDA_VISIBLE_DEVICES"] == [0, 1]
    assert (options["device_memory_limit"], options["rmm_pool_size"]) == (60 << 30, 70 << 30)
    enabled = {name: each for name, each in options.items() if name.startswith("enable_")}
    assert enabled == {
        "enable_tcp_over_ucx": True,
        "enable_nvlink": True,
        "enable_infiniband": True,
    }
    assert options["preload"][1:] == [
        "forebay.cluster.local_cuda.arrays",
        "forebay.cluster.local_cuda.nearest",
    ]
    assert command_of(options, places[1], all_gpus=places) == (
        "CUDA_VISIBLE_DEVICES=1,0 UCX_NET_DEVICES=mlx5_2:1 DASK_ARRAY__BACKEND=cupy dask cuda "
        f"worker SCHEDULER --nthreads 1 --memory-limit {32 << 30} --device-memory-limit {60 << 30} "
        f"--rmm-pool-size {70 << 30} --protocol ucx --enable-tcp-over-ucx --enable-nvlink "
        "--enable-infiniband  # NUMA node 1, cores 16-31"
    )


def test_what_is_not_found_is_not_used(tmp_path: Path) -> None:
    """A single GPU has nobody to link to, and a machine without cards has no RDMA."""
    bare = Machine(build(tmp_path / "bare", pci("pci0000:3a/0000:3b:00.0", GPU, 0x10DE)))
    one = options_of(specification(protocol="ucx"), gpu_places(bare, nvml(), [0]))
    assert (one["enable_nvlink"], one["enable_infiniband"]) == (False, False)
    assert "forebay.cluster.local_cuda.nearest" not in one["preload"]
    two = gpu_places(bare, nvml(nvlink=False), [0, 1])
    assert options_of(specification(protocol="ucx"), two)["enable_nvlink"] is False
    assert not any(name.startswith("enable_") for name in options_of(specification(), two))


@pytest.mark.parametrize(
    ("library", "given", "said"),
    [
        ("dask_cuda", {}, "kind = 'local-cuda' needs dask-cuda: install forebay with"),
        ("rmm", {"rmm_pool_size": "1 GiB"}, "rmm_pool_size needs rmm: .* or leave it out"),
        (
            "distributed_ucxx",
            {"protocol": "ucx"},
            "protocol = 'ucx' needs distributed-ucxx: .* or leave it at",
        ),
    ],
)
def test_what_a_library_is_needed_for_is_refused_without_it(
    monkeypatch: pytest.MonkeyPatch, library: str, given: dict[str, Any], said: str
) -> None:
    """Before anything is started: Dask would say so in the middle of that, or not at all."""
    monkeypatch.setattr(start, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(ClusterError, match=said):
        start.need_libraries(specification(**given))
    monkeypatch.setattr(start, "find_spec", lambda _: object())
    start.need_libraries(specification(**given))


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, "mlx5_1:1"),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, "mlx5_2:1"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, "mlx5_2:1"),
        ({"CUDA_VISIBLE_DEVICES": "7"}, None),
        ({"UCX_NET_DEVICES": "eth0"}, "eth0"),
    ],
)
def test_a_worker_uses_the_port_next_to_its_gpu(
    machine: Machine, given: dict[str, str], chosen: str | None
) -> None:
    """The first GPU that it sees is its own; what somebody has chosen stays."""
    environment = dict(given)
    choose(machine, nvml(), environment)
    assert environment.get("UCX_NET_DEVICES") == chosen


class CudaCluster(LocalCluster):
    """Starts workers as dask-cuda's does, which is not asked for a GPU then.

    It has a configuration for them, copies the options of each, and waits for all that it starts.
    """

    def __init__(self, CUDA_VISIBLE_DEVICES: list[int], **options: Any) -> None:  # noqa: N803
        self._gpus = CUDA_VISIBLE_DEVICES
        base: Any = super()
        base.__init__(n_workers=0, config={"distributed.comm.ucx": {}}, **options)
        base.scale(len(self._gpus))
        base.sync(self._correct_state)

    def new_worker_spec(self) -> dict[int, Any]:
        gpu = min(set(self._gpus) - set(self.worker_spec))
        spec = copy.deepcopy(self.new_spec)
        spec["options"]["env"] = {"CUDA_VISIBLE_DEVICES": str(gpu)}
        return {gpu: spec}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """dask-cuda and two GPUs, as far as starting workers goes."""
    places = tuple(GpuPlace(number) for number in range(2))
    monkeypatch.setattr(start, "_gpus", lambda _: places)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=CudaCluster))


@pytest.mark.usefixtures("pretended")
def test_workers_for_gpus_come_and_make_their_arrays_there() -> None:
    def told() -> tuple[str, str]:
        import dask

        return os.environ["CUDA_VISIBLE_DEVICES"], dask.config.get("array.backend")

    with connect(specification(memory_limit="500 MiB")) as client:
        assert sorted(client.run(told).values()) == [("0", "cupy"), ("1", "cupy")]


@pytest.mark.usefixtures("pretended")
def test_workers_for_gpus_that_do_not_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask itself would wait for them without end; nothing of them is left."""
    processes = children()
    monkeypatch.setattr(start, "_KNOWN_SECONDS", 0.1)
    with (
        pytest.raises(ClusterError, match=r"only 0 of 2 GPU workers came up: .* than 0\.05 s"),
        connect(specification(memory_limit="500 MiB", start_seconds=0.05)),
    ):
        pass
    assert children() <= processes


@pytest.mark.gpu
def test_a_worker_for_each_gpu_computes_on_it() -> None:
    """With a pool of GPU memory that it hands out itself."""
    cupy: Any = pytest.importorskip("cupy")
    pytest.importorskip("dask_cuda")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")

    def total() -> float:
        import cupy

        return float(cupy.arange(5).sum())

    with connect(specification(gpus=[0], rmm_pool_size="1 GiB")) as client:
        assert client.submit(total).result(timeout=60) == 10.0
