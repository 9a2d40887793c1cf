"""What a cluster on the GPUs of this machine is to be."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from pydantic import ByteSize, Field, NonNegativeInt, PositiveFloat, PositiveInt

from forebay.cluster.model import ClusterModel
from forebay.cluster.plan import Plan

if TYPE_CHECKING:
    from distributed import Client


class LocalCudaClusterSpecification(ClusterModel):
    """A worker for each GPU of this machine, started for one command and ended with it."""

    kind: Literal["local-cuda"] = Field(
        default="local-cuda", description="A worker for each GPU of this machine."
    )
    gpus: tuple[NonNegativeInt, ...] | None = Field(
        default=None, description="Numbers of the GPUs to use; all of them where not given."
    )
    threads_per_worker: PositiveInt = Field(
        default=1, description="Units that a worker computes at once on its GPU."
    )
    memory_limit: Literal["auto"] | ByteSize = Field(
        default="auto",
        description="Host memory of one worker, such as '32 GiB'; 'auto' is its share.",
    )
    device_memory_limit: ByteSize | None = Field(
        default=None,
        description="GPU memory from which on a worker moves arrays to the host; dask-cuda's share "
        "of the GPU where not given.",
    )
    rmm_pool_size: ByteSize | None = Field(
        default=None,
        description="GPU memory that each worker takes at its start and hands out itself (RMM); "
        "none where not given.",
    )
    protocol: Literal["tcp", "ucx"] = Field(
        default="tcp",
        description="How workers pass arrays on: 'ucx' goes from GPU to GPU, over NVLink where "
        "there is one.",
    )

    start_seconds: PositiveFloat = Field(
        default=120.0,
        description="Seconds in which all workers have to report; making a CUDA context takes a few.",
    )

    def connected(self, name: str) -> AbstractContextManager["Client"]:
        """Start the workers; they end with the block."""
        from forebay.cluster.local_cuda.start import start

        return start(self, name)

    def plan(self, name: str) -> Plan:  # noqa: ARG002
        """Return what would be started on this machine, and what is missing for it."""
        from forebay.cluster.local_cuda.start import plan

        return plan(self)
