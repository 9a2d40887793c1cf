"""Start a cluster or join one, and leave it behind in order."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from forebay.cluster.forking import forked_workers
from forebay.cluster.specification import ClusterSpecification
from forebay.cluster.worker_memory import SETTINGS

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connect(
    specification: ClusterSpecification, *, name: str | None = None, modules: Sequence[str] = ()
) -> Iterator["Client"]:
    """Start or join the cluster that a specification describes.

    Ctrl-C never reaches the processes of a local cluster: whoever holds the block decides when
    they end.  The client does not become Dask's default.

    Parameters
    ----------
    specification
        What is wanted.
    name
        What the cluster is called, by default its kind.  One that runs by that name is joined.
    modules
        What the processes of a local cluster find imported.

    Yields
    ------
    Client
        Connected, with every local worker there; it is closed with the block, and so is a cluster
        that was started here.

    Raises
    ------
    ClusterError
        If the cluster cannot be started or reached, or runs other versions.
    """
    import dask

    with quiet(), dask.config.set(SETTINGS), ExitStack() as stack:
        if specification.forks:
            stack.enter_context(forked_workers(modules))
        yield stack.enter_context(specification.connected(name or specification.kind))


@contextmanager
def quiet() -> Iterator[None]:
    """Let distributed tell of what went wrong, and of nothing else."""
    import distributed  # noqa: F401  # importing it sets the level that is raised here

    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)
