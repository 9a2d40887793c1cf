"""A scheduler or a worker of the soak, which ends with its input.

    python -m benchmarks.engine_measurements.soak_process scheduler|worker FILE

The scheduler writes its address into the file, and a worker waits for it there.
"""

import asyncio
import sys
from pathlib import Path

from distributed import Scheduler, Worker


async def main(kind: str, file: Path) -> None:
    """Run it."""
    loop = asyncio.get_running_loop()
    server: Scheduler | Worker
    if kind == "scheduler":
        server = Scheduler(
            host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0"
        )
    else:
        while not file.exists():
            await asyncio.sleep(0.05)
        server = Worker(file.read_text(), host="127.0.0.1", nthreads=1, dashboard=False,
            dashboard_address="127.0.0.1:0", memory_limit=2 * 10**9)  # fmt: skip
    async with server:
        if kind == "scheduler":
            aside = file.with_suffix(".aside")
            aside.write_text(server.address)
            aside.rename(file)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
