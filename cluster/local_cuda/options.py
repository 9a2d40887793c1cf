"""What dask-cuda is given: for its cluster, and as the command that starts the same worker."""

import shlex
from collections.abc import Sequence
from typing import Any

from forebay.cluster.keeping.fit import ARRAYS, CUPY
from forebay.cluster.local_cuda.links import GpuPlace
from forebay.cluster.local_cuda.specification import LocalCudaClusterSpecification

PRELOAD = "forebay.cluster.local.preload"
"""The module by which a worker leaves signals to the process that has started it."""
ON_GPU = "forebay.cluster.local_cuda.arrays"
"""The module by which a worker knows that what it reads is for its GPU."""
NEAREST = "forebay.cluster.local_cuda.nearest"
"""The module that lets a worker use the port that is next to its GPU."""


def options_of(
    specification: LocalCudaClusterSpecification, gpus: Sequence[GpuPlace]
) -> dict[str, Any]:
    """Return the options of dask-cuda's `LocalCUDACluster`.

    With UCX, NVLink is used where two of the GPUs have it, and RDMA where a port is in use.

    Parameters
    ----------
    specification
        What is wanted.
    gpus
        The GPUs, a worker for each.
    """
    memory = specification.memory_limit
    options: dict[str, Any] = {
        "CUDA_VISIBLE_DEVICES": [each.number for each in gpus],
        "threads_per_worker": specification.threads_per_worker,
        "memory_limit": "auto" if memory == "auto" else int(memory),
        "protocol": specification.protocol,
        "host": "127.0.0.1",
        "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        "worker_dashboard_address": "127.0.0.1:0",
        "preload": [PRELOAD, ON_GPU],
    }
    if specification.device_memory_limit is not None:
        options["device_memory_limit"] = int(specification.device_memory_limit)
    if specification.rmm_pool_size is not None:
        options["rmm_pool_size"] = int(specification.rmm_pool_size)
    if specification.protocol == "ucx":
        rdma = any(each.port is not None for each in gpus)
        options["enable_tcp_over_ucx"] = True
        options["enable_nvlink"] = sum(each.nvlink for each in gpus) > 1
        # Connections are made over TCP: RDMA's own way has no address on the loopback.
        options["enable_infiniband"] = rdma
        if rdma:
            options["preload"].append(NEAREST)
    return options


def command_of(options: dict[str, Any], gpu: GpuPlace, *, all_gpus: Sequence[GpuPlace]) -> str:
    """Return the command that starts the worker of a GPU by itself, with the same options.

    Parameters
    ----------
    options
        Those of the cluster.
    gpu
        Its GPU.
    all_gpus
        Those of all workers: the others are reached over NVLink, and so are visible.
    """
    # The first one is its own, and dask-cuda binds it to the cores next to that.
    visible = [gpu.number, *(each.number for each in all_gpus if each.number != gpu.number)]
    words = [f"CUDA_VISIBLE_DEVICES={','.join(map(str, visible))}"]
    if options.get("enable_infiniband") and gpu.port is not None:
        words.append(f"UCX_NET_DEVICES={gpu.port}")
    words += [f"{ARRAYS}={CUPY}"]
    words += ["dask", "cuda", "worker", "SCHEDULER"]
    words += ["--nthreads", str(options["threads_per_worker"])]
    for name in ("memory_limit", "device_memory_limit", "rmm_pool_size", "protocol"):
        if name in options:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    for name in ("tcp_over_ucx", "nvlink", "infiniband"):
        if f"enable_{name}" in options:
            verb = "enable" if options[f"enable_{name}"] else "disable"
            words.append(f"--{verb}-{name.replace('_', '-')}")
    node = "" if gpu.node is None else f"  # NUMA node {gpu.node}, cores {gpu.cores}"
    return shlex.join(words) + node
