"""The definitions of the tasks of a cluster on Fargate, as ECS is given them."""

from typing import Any

from forebay.cluster.aws.owner import Owner
from forebay.cluster.aws.specification import FargateClusterSpecification
from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.worker_memory import ENVIRONMENT

ON_DEMAND, SPOT = "FARGATE", "FARGATE_SPOT"
"""What ECS calls the two kinds of capacity."""
SCHEDULER, WORKER, LARGER = ROLES = ("scheduler", "worker", "larger")
"""What tasks are for; the last is a worker that has more memory than the others."""
STOP_SECONDS = 120
"""Time between being told to stop and being stopped: the most that ECS gives."""


def family(owner: Owner, role: str) -> str:
    """Return what the definition of a task is called."""
    return f"forebay-{owner.cluster}-{owner.start}-{role}"


def definition(
    specification: FargateClusterSpecification, owner: Owner, role: str
) -> dict[str, Any]:
    """Return the definition of a task: a scheduler's, a worker's, or the larger worker's."""
    worker = role != SCHEDULER
    cpu = specification.cpu if worker else specification.scheduler_cpu
    memory = specification.memory if worker else specification.scheduler_memory
    more = (
        [
            *("--threads", f"{specification.threads_per_worker}"),
            *(["--larger"] if role == LARGER else []),
        ]
        if worker
        else [
            *("--most-workers", f"{specification.maximum_workers}"),
            *("--orphan-seconds", f"{specification.orphan_seconds:g}"),
            *(
                ["--memory-ceiling", f"{int(specification.memory_ceiling)}"]
                if specification.memory_ceiling is not None
                else []
            ),
        ]
    )
    command = WORKER if worker else SCHEDULER
    # Fargate has no GPUs.
    environment = (
        worker_environment(specification.environment, gpus=False)
        if worker
        else {**ENVIRONMENT, **specification.environment}
    )
    container = {
        # dask-cloudprovider puts its changes to a task under this name.
        "name": f"dask-{command}",
        "image": specification.image,
        "essential": True,
        "cpu": cpu,
        "memory": memory >> 20,
        "command": [
            *("python", "-m", "forebay.cluster.aws.node"),
            *("--region", specification.region),
            *("--certificates", owner.parameter),
            command,
            *more,
        ],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "stopTimeout": STOP_SECONDS,
        "ulimits": [{"name": "nofile", "softLimit": 65535, "hardLimit": 65535}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-region": specification.region,
                "awslogs-group": specification.log_group,
                "awslogs-stream-prefix": f"{owner.cluster}/{owner.start}",
            },
        },
    }
    return {
        "family": family(owner, role),
        "taskRoleArn": specification.task_role,
        "executionRoleArn": specification.execution_role,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(cpu),
        "memory": str(memory >> 20),
        "runtimePlatform": {
            "cpuArchitecture": specification.architecture,
            "operatingSystemFamily": "LINUX",
        },
        "containerDefinitions": [container],
        "tags": [
            {"key": key, "value": value}
            for key, value in {**specification.tags, **owner.tags}.items()
        ],
    }
