"""Start a cluster or join one, and leave it behind in order."""

import asyncio
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from forebay.cluster.errors import ClusterError
from forebay.cluster.forking import forked_workers
from forebay.cluster.loop import interrupts_held, sheltered_loop
from forebay.cluster.specification import (
    AddressSpecification,
    ClusterSpecification,
    LocalClusterSpecification,
)

if TYPE_CHECKING:
    from distributed import Client

START_TIMEOUT = 60.0
"""Seconds in which every local worker has to report."""
CLOSE_TIMEOUT = 10.0
"""Seconds that a client, and then a cluster, may take to close."""
MUST_MATCH = ("python", "dask", "distributed")
"""What client, scheduler and workers must have in the same version."""

_log = logging.getLogger(__name__)


@contextmanager
def connect(
    specification: ClusterSpecification, *, modules: Sequence[str] = ()
) -> Iterator["Client"]:
    """Start or join the cluster that a specification describes.

    Ctrl-C never reaches the processes of a local cluster: whoever holds the block decides when
    they end.  The client does not become Dask's default.

    Parameters
    ----------
    specification
        What is wanted.
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
    with _quiet(), ExitStack() as stack:
        match specification:
            case LocalClusterSpecification():
                yield stack.enter_context(_start(specification, modules))
            case AddressSpecification():
                yield stack.enter_context(_join(specification))


@contextmanager
def _start(specification: LocalClusterSpecification, modules: Sequence[str]) -> Iterator["Client"]:
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    if specification.dashboard and find_spec("bokeh") is None:
        raise ClusterError("the Dask dashboard needs bokeh: install it, or set dashboard = false")
    workers = specification.workers or CPU_COUNT
    with forked_workers(modules), sheltered_loop() as loop, ExitStack() as stack:
        try:
            with interrupts_held():
                cluster: Any = LocalCluster(  # type: ignore[no-untyped-call]
                    loop=loop, **_options(specification, workers)
                )
                stack.callback(_close, cluster)
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"the local cluster does not start: {_line(error)}") from error
        # The workers come once the cluster can be closed, so that Ctrl-C finds it in order.
        cluster.scale(workers)
        client = stack.enter_context(_client(cluster, timeout=START_TIMEOUT))
        try:
            client.wait_for_workers(workers, timeout=START_TIMEOUT)
        except TimeoutError as error:
            there = len(client.scheduler_info(n_workers=-1)["workers"])
            raise ClusterError(
                f"only {there} of {workers} local workers came up within {START_TIMEOUT:g} s: "
                "what they said stands above"
            ) from error
        yield client


def _options(specification: LocalClusterSpecification, workers: int) -> dict[str, Any]:
    from distributed.system import MEMORY_LIMIT

    memory = specification.memory_limit
    options: dict[str, Any] = {
        "n_workers": 0,
        "threads_per_worker": specification.threads_per_worker,
        "memory_limit": MEMORY_LIMIT // workers if memory == "auto" else int(memory),
        "processes": specification.processes,
        "silence_logs": logging.WARNING,
        # Without an address the HTTP servers of a cluster of threads listen on all interfaces.
        "scheduler_kwargs": {
            "dashboard": specification.dashboard,
            "dashboard_address": "127.0.0.1:0",
        },
        "worker_dashboard_address": "127.0.0.1:0",
    }
    if specification.processes:
        # A cluster of threads speaks inproc:// and does not start where it is given a host.
        options["host"] = "127.0.0.1"
        options["preload"] = ["forebay.cluster.preload"]
    return options


@contextmanager
def _join(specification: AddressSpecification) -> Iterator["Client"]:
    from distributed.utils import sync

    address = specification.address
    security = _security(specification)
    with sheltered_loop() as loop, ExitStack() as stack:
        try:
            # A client waits without end for one that takes its connection and says nothing, and
            # does not stop its loop where it fails.
            sync(loop, _knock, specification, security)
            client = stack.enter_context(
                _client(address, loop=loop, timeout=specification.timeout, security=security)
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answered at {address} within {specification.timeout:g} s: "
                f"{_reason(error)}"
            ) from error
        _check_versions(client, address)
        yield client


def _security(specification: AddressSpecification) -> Any:
    """Return the `distributed.Security` of tls://, or None."""
    from distributed import Security

    if not specification.address.startswith("tls://"):
        return None
    for file in (specification.ca_file, specification.cert_file, specification.key_file):
        if file is None or not file.is_file():
            raise ClusterError(f"{file} is not there: {specification.address} needs it")
    security: Any = Security(  # type: ignore[no-untyped-call]
        tls_ca_file=str(specification.ca_file),
        tls_client_cert=str(specification.cert_file),
        tls_client_key=str(specification.key_file),
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except OSError as error:
        raise ClusterError(
            f"the certificates for {specification.address} cannot be used, give PEM files that "
            f"belong together: {_line(error)}"
        ) from error
    return security


async def _knock(specification: AddressSpecification, security: Any) -> None:
    """Connect to the scheduler, and hang up once it has said who it is."""
    from distributed.comm.core import connect as connect_to

    arguments = {} if security is None else security.get_connection_args("client")
    try:
        async with asyncio.timeout(specification.timeout):
            # A little less, so that it can still say why the last attempt failed.
            seconds = 0.9 * specification.timeout
            comm = await connect_to(  # type: ignore[no-untyped-call]
                specification.address, timeout=seconds, **arguments
            )
    except TimeoutError:
        raise OSError("something takes the connection there, and says nothing") from None
    await comm.close()


@contextmanager
def _client(target: Any, **options: Any) -> Iterator["Client"]:
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        # Versions that matter are checked here, the others do not.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        client: Any = Client(  # type: ignore[no-untyped-call]
            target, set_as_default=False, **options
        )
    try:
        yield client
    finally:
        _close(client)


def _check_versions(client: Any, address: str) -> None:
    found = client.get_versions()
    parties = {"scheduler": found["scheduler"]} | {
        f"worker {name}": party for name, party in found["workers"].items()
    }
    for name, party in parties.items():
        for package in MUST_MATCH:
            ours = _version(found["client"], package)
            theirs = _version(party, package)
            if ours != theirs:
                raise ClusterError(
                    f"the {name} of {address} has {package} {theirs}, this side has {ours}: "
                    "install the same version on both"
                )


def _version(party: dict[str, Any], package: str) -> str:
    version = str(party["packages"].get(package))
    # Pickled code is understood between patch releases of Python.
    return ".".join(version.split(".")[:2]) if package == "python" else version


def _close(closable: Any) -> None:
    try:
        closable.close(timeout=CLOSE_TIMEOUT)
    except TimeoutError:
        _log.warning("%r did not close within %g s", closable, CLOSE_TIMEOUT)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let distributed tell of what went wrong, and of nothing else."""
    import distributed  # noqa: F401  # importing it sets the level that is raised here

    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """Return why the last attempt to connect failed, without the object in which it did."""
    last = error.__cause__ or error
    return (
        "is it running?"
        if isinstance(last, TimeoutError)
        else re.sub(r"^in <.*?>: ", "", _line(last))
    )


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
