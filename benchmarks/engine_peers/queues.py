"""Jobs that are enqueued, claimed and finished by procrastinate and pgqueuer, on PostgreSQL."""

import asyncio
import time
from typing import Any

import sqlalchemy as sa


def conninfo(url: str) -> str:
    """Return an SQLAlchemy URL as libpq wants it."""
    parsed = sa.make_url(url)
    return f"host={parsed.host} port={parsed.port} user={parsed.username} dbname={parsed.database}"


def procrastinate(url: str, *, jobs: int, batch: int) -> dict[str, float]:
    """Measure procrastinate: enqueueing in batches, and a worker with so many at a time."""
    import procrastinate as library

    async def measured() -> dict[str, float]:
        app = library.App(connector=library.PsycopgConnector(conninfo=conninfo(url)))
        done = 0

        @app.task(name="nothing")  # type: ignore[untyped-decorator]
        async def nothing(number: int) -> None:  # noqa: ARG001
            nonlocal done
            done += 1

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            began = time.perf_counter()
            for begin in range(0, jobs, 1000):
                some: list[Any] = [{"number": at} for at in range(begin, min(begin + 1000, jobs))]
                await nothing.batch_defer_async(*some)
            added = time.perf_counter() - began
            began = time.perf_counter()
            await app.run_worker_async(
                concurrency=batch, wait=False, install_signal_handlers=False, listen_notify=False
            )
            took = time.perf_counter() - began
        if done != jobs:
            raise RuntimeError(f"{done} of {jobs} jobs are done")
        return {"added/s": jobs / added, "claimed and finished/s": jobs / took}

    return asyncio.run(measured())


def pgqueuer(url: str, *, jobs: int, batch: int) -> dict[str, float]:
    """Measure pgqueuer: enqueueing in batches, and a worker that takes batches."""
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.models import Job
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async def measured() -> dict[str, float]:
        parsed = sa.make_url(url)
        connection = await asyncpg.connect(
            host=parsed.host, port=parsed.port, user=parsed.username, database=parsed.database
        )
        done = 0
        try:
            driver = AsyncpgDriver(connection)
            queries = Queries(driver)
            await queries.install()
            began = time.perf_counter()
            for begin in range(0, jobs, 1000):
                count = min(1000, jobs - begin)
                await queries.enqueue(["nothing"] * count, [None] * count, [0] * count)
            added = time.perf_counter() - began
            manager = QueueManager(queries)

            @manager.entrypoint("nothing")  # type: ignore[untyped-decorator]
            async def nothing(job: Job) -> None:  # noqa: ARG001
                nonlocal done
                done += 1

            began = time.perf_counter()
            await manager.run(batch_size=batch, mode=QueueExecutionMode.drain)
            took = time.perf_counter() - began
        finally:
            await connection.close()
        if done != jobs:
            raise RuntimeError(f"{done} of {jobs} jobs are done")
        return {"added/s": jobs / added, "claimed and finished/s": jobs / took}

    return asyncio.run(measured())
