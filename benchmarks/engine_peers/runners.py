"""A task for each block, by Prefect on Dask and by Parsl."""

import dataclasses
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import forebay
from forebay.acquisition import Block
from forebay.acquisition.format.history import History

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}
"""Variables of the environment of all processes, so that none of them spends time on telling."""

type OneBlock = Callable[[forebay.Run, Block, int, Path | None], object]


@contextmanager
def prefect_runner(address: str) -> Iterator[Callable[..., int]]:
    """Give what runs a flow of Prefect on a Dask cluster, with its server on loopback."""
    with tempfile.TemporaryDirectory(prefix="prefect-") as home:
        os.environ["PREFECT_HOME"] = home
        from prefect import flow, task
        from prefect.testing.utilities import prefect_test_harness
        from prefect_dask import DaskTaskRunner

        def whole_job(one_block: OneBlock, run: forebay.Run, work: int, parts: Path | None) -> int:
            each = task(one_block, cache_policy=None, persist_result=False)

            runner = DaskTaskRunner(address=address)

            @flow(task_runner=runner, validate_parameters=False)  # type: ignore[untyped-decorator]
            def job() -> int:
                light = dataclasses.replace(run, history=History())
                futures = [each.submit(light, block, work, parts) for block in run.blocks]
                return len([future.result() for future in futures])

            return int(job())

        with prefect_test_harness(server_startup_timeout=120):
            yield whole_job


@contextmanager
def parsl_runner(workers: int) -> Iterator[Callable[..., int]]:
    """Give what runs apps of Parsl on worker processes of this machine."""
    import parsl
    from parsl.addresses import address_by_interface
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    # It looks for programs of its own, which lie beside the interpreter, and its workers for ours.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = os.pathsep.join(each for each in sys.path if each)
    with tempfile.TemporaryDirectory(prefix="parsl-") as folder:
        config = Config(
            executors=[
                HighThroughputExecutor(
                    label="here",
                    address=address_by_interface("lo"),
                    max_workers_per_node=workers,
                    provider=LocalProvider(init_blocks=1, max_blocks=1),
                )
            ],
            run_dir=folder,
            usage_tracking=0,
            initialize_logging=False,
        )
        # Prefect shows whatever any library logs.
        logging.getLogger("parsl").setLevel(logging.WARNING)
        with parsl.load(config):

            def whole_job(
                one_block: OneBlock, run: forebay.Run, work: int, parts: Path | None
            ) -> int:
                app = parsl.python_app(one_block)
                light = dataclasses.replace(run, history=History())
                futures = [app(light, block, work, parts) for block in run.blocks]
                return len([future.result() for future in futures])

            yield whole_job
