"""Start a worker for each GPU of this machine, with dask-cuda."""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from forebay.cluster.client import client_of, close_in_time, line_of
from forebay.cluster.errors import ClusterError
from forebay.cluster.health.watch import watched
from forebay.cluster.local_cuda.links import GpuPlace, gpu_places
from forebay.cluster.local_cuda.options import command_of, options_of
from forebay.cluster.local_cuda.specification import LocalCudaClusterSpecification
from forebay.cluster.loop import sheltered_loop, signals_held
from forebay.cluster.node.machine import Machine
from forebay.cluster.plan import Plan
from forebay.cluster.refill import refilled

if TYPE_CHECKING:
    from distributed import Client

_KNOWN_SECONDS = 10.0
"""Seconds in which a client knows of all workers that have come."""


@contextmanager
def start(specification: LocalCudaClusterSpecification, name: str) -> Iterator["Client"]:
    """Start the workers of a specification, and end them with the block.

    dask-cuda binds each worker to the cores that its GPU is next to.

    Raises
    ------
    ClusterError
        If there is no such GPU, or the workers do not come.
    """
    from forebay.cluster.local.nanny import Closing, LocalNanny

    gpus = _gpus(specification)
    options = options_of(specification, gpus)
    dask_cuda: Any = importlib.import_module("dask_cuda")
    closing, seconds = Closing(), specification.start_seconds
    with sheltered_loop() as loop, ExitStack() as stack:
        try:
            with signals_held():
                # It waits until each of them has come, or has been given up.
                cluster = dask_cuda.LocalCUDACluster(
                    loop=loop,
                    worker_class=LocalNanny,
                    start_seconds=seconds,
                    closing=closing,
                    **options,
                )
                stack.callback(close_in_time, cluster)
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(f"the GPU workers do not start: {line_of(error)}") from error
        client = stack.enter_context(client_of(cluster))
        stack.callback(loop.add_callback, closing.set)
        try:
            client.wait_for_workers(len(gpus), timeout=_KNOWN_SECONDS)
        except TimeoutError as error:
            there = len(client.scheduler_info(n_workers=-1)["workers"])
            raise ClusterError(
                f"only {there} of {len(gpus)} GPU workers came up: what they said stands above; a "
                f"busy machine needs more than {seconds:g} s (start_seconds of the cluster)"
            ) from error
        stack.enter_context(refilled(cluster, loop))
        stack.enter_context(watched(client, name))
        yield client


def plan(specification: LocalCudaClusterSpecification) -> Plan:
    """Return what would be started on this machine, and what is missing for it."""
    problems: tuple[str, ...] = ()
    gpus: tuple[GpuPlace, ...] = ()
    try:
        gpus = _gpus(specification)
    except ClusterError as error:
        problems = (str(error),)
    pool, spill = specification.rmm_pool_size, specification.device_memory_limit
    options = options_of(specification, gpus)
    facts = (
        ("workers", str(len(gpus))),
        ("GPUs", ", ".join(str(each.number) for each in gpus) or "none"),
        ("threads of each", str(specification.threads_per_worker)),
        ("pool of GPU memory", "none" if pool is None else f"{pool / 2**30:.3g} GiB"),
        ("GPU memory before it moves arrays", "-" if spill is None else f"{spill / 2**30:.3g} GiB"),
        ("protocol", specification.protocol),
        ("NVLink", "used" if options.get("enable_nvlink") else "not used"),
        ("RDMA", "used" if options.get("enable_infiniband") else "not used"),
    )
    return Plan(
        facts,
        submitted="\n".join(command_of(options, each, all_gpus=gpus) for each in gpus),
        problems=problems,
        workers=(len(gpus), len(gpus)),
        cost_per_worker_hour=specification.cost_per_worker_hour,
    )


def _gpus(specification: LocalCudaClusterSpecification) -> tuple[GpuPlace, ...]:
    """Return the GPUs to use, and what they are next to.

    Raises
    ------
    ClusterError
        If there is none, not the one that is asked for, or not the library that it takes.
    """
    need_libraries(specification)
    pynvml: Any = importlib.import_module("pynvml")
    try:
        pynvml.nvmlInit()
        number = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        raise ClusterError(
            f"this machine shows no NVIDIA GPU ({line_of(error)}): a cluster of kind local-cuda "
            "needs one and its driver; choose the kind local here"
        ) from error
    wanted = specification.gpus if specification.gpus is not None else tuple(range(number))
    missing = [each for each in wanted if each >= number]
    if missing or not wanted:
        raise ClusterError(f"gpus = {list(wanted)}: this machine has {number} GPUs, counted from 0")
    return gpu_places(Machine(), pynvml, wanted)


def need_libraries(specification: LocalCudaClusterSpecification) -> None:
    """Make sure that the libraries are there that a specification takes.

    Raises
    ------
    ClusterError
        If one is not.
    """
    needed = [("dask_cuda", f"kind = {specification.kind!r}", "choose the kind local")]
    if specification.rmm_pool_size is not None:
        needed.append(("rmm", "rmm_pool_size", "leave it out"))
    if specification.protocol == "ucx":
        # Dask has no UCX of its own any more.
        needed.append(("distributed_ucxx", "protocol = 'ucx'", "leave it at 'tcp'"))
    for library, setting, otherwise in needed:
        if find_spec(library) is None:
            raise ClusterError(
                f"{setting} needs {library.replace('_', '-')}: install forebay with the extra gpu "
                f"('pip install forebay[gpu]'), or {otherwise}"
            )
