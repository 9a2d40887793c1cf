"""Tasks of Fargate on loopback: moto answers as ECS does, and the commands of tasks run here."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.aws.cloud import KEYS, REGION, Cloud, on_lo


class Running:
    """A process in the place of a task."""

    def __init__(self, task: Any, definition: Any, aws: Cloud, log: Path) -> None:
        (eni,) = task.attachments
        details = {each["name"]: each["value"] for each in eni["details"]}
        self.task = task
        self.address = details["privateIPv4Address"]
        (container,) = definition.container_definitions
        (override,) = task.overrides["containerOverrides"]
        words = override.get("command", container["command"])
        assert words[0] == "python"
        environment = {each["name"]: each["value"] for each in container["environment"]}
        on_lo("add", self.address)
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [str(aws.python), *words[1:]],
                env={**os.environ, **KEYS, **environment, "AWS_ENDPOINT_URL": aws.endpoint},
                stdout=file,
                stderr=file,
            )
        self.log = log

    def end(self) -> None:
        """Stop it as ECS does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        on_lo("del", self.address)


class Tasks:
    """ECS of one region, and the processes that its tasks are here."""

    def __init__(self, aws: Cloud, folder: Path) -> None:
        from moto.backends import get_backend

        self._aws = aws
        self._folder = folder
        self._backend = get_backend("ecs")["123456789012"][REGION]
        self._over = threading.Event()
        self.running: dict[str, Running] = {}
        self.ended: list[Running] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def of_the_backend(self) -> list[Any]:
        """Return all tasks that were ever asked for."""
        return [task for some in list(self._backend.tasks.values()) for task in some.values()]

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for task in self.of_the_backend():
                known = self.running.get(task.id)
                if known is None and task.last_status == "RUNNING":
                    definition = self._backend.describe_task_definition(task.task_definition_arn)
                    log = self._folder / f"{task.id}.log"
                    self.running[task.id] = Running(task, definition, self._aws, log)
                elif known is not None and task.last_status == "STOPPED":
                    self._end(task.id)
                elif known is not None and known.process.poll() is not None:
                    task.last_status = task.desired_status = "STOPPED"
                    task.stopped_reason = "Essential container in task exited"

    def _end(self, name: str) -> None:
        over = self.running.pop(name)
        over.end()
        self.ended.append(over)

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self._thread.join()
        for name in list(self.running):
            self._end(name)
        for each in self.ended:
            # Shown by pytest where a test has failed.
            print(each.log.read_text())


@contextmanager
def running_tasks(aws: Cloud, folder: Path) -> Iterator[Tasks]:
    """Run the commands of all tasks for the length of a block."""
    made = Tasks(aws, folder)
    try:
        yield made
    finally:
        made.close()
