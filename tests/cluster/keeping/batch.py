"""A batch system and a crew in memory, which do what a test tells them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.pool import PoolError, PoolSilentError, Seen, Stage
from forebay.cluster.keeping.time_left import TimeLeft

WAITING = Seen(Stage.WAITING, "PENDING", "Resources")
RUNNING = Seen(Stage.RUNNING, "RUNNING", node="n1", seconds_left=10_000.0)
FAILED = Seen(Stage.OVER, "FAILED", node="n1")


@dataclass
class Batch:
    """A batch system: jobs wait until a test moves them."""

    jobs: dict[str, Seen] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    without: list[list[str]] = field(default_factory=list)
    silent: bool = False
    deaf: bool = False
    """It tells what there is, and does not answer to anything else."""
    refusal: str = ""
    last_words: str = "python: not found"

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        self._answer()
        if self.refusal:
            raise PoolError(self.refusal)
        job = str(100 + len(self.jobs))
        self.jobs[job], self.names[job] = WAITING, name
        self.without.append(list(without))
        return job

    async def look(self) -> Mapping[str, Seen]:
        self._answer()
        return dict(self.jobs)

    async def give_up(self, jobs: Collection[str]) -> None:
        self._answer()
        if self.deaf:
            raise PoolSilentError("the controller does not answer")
        for job in jobs:
            if self.jobs[job].stage is not Stage.OVER:
                self.jobs[job] = Seen(Stage.OVER, "CANCELLED", given_up=True)

    async def story(self, job: str, name: str) -> str:
        assert self.names[job] == name
        return self.last_words

    def _answer(self) -> None:
        if self.silent:
            raise PoolSilentError("the controller does not answer")

    def there(self, stage: Stage | None = None) -> list[str]:
        """Return the jobs that are not over, or those in a stage."""
        return [
            job
            for job, seen in self.jobs.items()
            if (seen.stage is stage if stage else seen.stage is not Stage.OVER)
        ]


@dataclass
class People:
    """The workers of a scheduler."""

    members: dict[str, Member] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    home: list[str] = field(default_factory=list)
    left: dict[str, TimeLeft] = field(default_factory=dict)

    def look(self) -> Mapping[str, Member]:
        return dict(self.members)

    def hold(self, member: Member) -> None:
        self.held.append(member.addresses[0])

    def tell(self, member: Member, left: TimeLeft) -> None:
        self.left[member.addresses[0]] = left

    async def send_home(self, member: Member) -> bool:
        name = member.addresses[0]
        if not self.members[name].idle:
            return False
        del self.members[name]
        self.home.append(name)
        return True

    def come(self, name: str, *, idle: bool = False, **wrong: str) -> None:
        """Let the worker of a job report."""
        self.members[name] = Member((name,), idle, **wrong)

    def rest(self, name: str) -> None:
        """Let a worker have nothing to do."""
        self.members[name] = replace(self.members[name], idle=True)
