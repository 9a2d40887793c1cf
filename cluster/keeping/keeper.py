"""A loop that compares the jobs that there should be with those that there are.

It keeps nothing that it could not learn anew: what there is, the batch system and the scheduler
say, each time.  While the batch system does not answer, nothing is done, since what is not seen
may still run.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from forebay.cluster.keeping.crew import Crew, Member
from forebay.cluster.keeping.patience import Patience
from forebay.cluster.keeping.pool import Pool, PoolError, PoolSilentError, Seen, Stage
from forebay.cluster.keeping.time_left import TimeLeft

_LONGEST_PAUSE = 60.0
_SHUNNED_SECONDS = 3600.0
"""For how long no jobs go to a node that was sick, or brought no worker: it may be mended since."""
_TOLD = 50

_log = logging.getLogger("forebay.cluster")


@dataclass(slots=True)
class Kept:
    """A job that was asked for."""

    job: str
    """What the batch system calls it."""
    name: str
    """What its worker is called."""
    early: float
    """By how much it leaves before its time."""
    asked_at: float
    """When it was asked for."""
    seen: Seen
    """What the batch system said of it last."""
    known: bool = False
    """The batch system has told of it."""
    running_since: float | None = None
    """When it was first seen to run, or to run again."""
    ends_at: float | None = None
    """When the batch system ends it; None where it does not."""
    life: float = 0.0
    """For how long it runs, as far as is known."""
    came: bool = False
    """Its workers have reported since it runs."""
    here_at: float = 0.0
    """When its workers were last seen."""
    leaving: str = ""
    """Why its workers are given nothing more."""
    cancelled: bool = False
    """It was cancelled by the keeper."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cluster stands."""

    wanted: int
    """Jobs that there should be."""
    waiting: int
    """Jobs in the queue."""
    starting: int
    """Jobs that run, and whose workers have not come."""
    working: int
    """Jobs whose workers are there and take work."""
    leaving: int
    """Jobs whose workers finish what they have."""
    stopped_because: str
    """Why no more jobs are asked for; empty while they are."""
    notes: tuple[str, ...] = ()
    """What has happened lately, and why jobs wait."""


@dataclass(slots=True)
class _Failures:
    """Starts that failed one after the other."""

    number: int = 0
    last: str = ""
    not_before: float = 0.0
    nodes: dict[str, float] = field(default_factory=dict)
    """Nodes that no jobs go to, and when that was decided last."""


class Keeper:
    """Keeps so many jobs as are wanted.

    Parameters
    ----------
    pool
        The batch system.
    crew
        The workers.
    name
        What the cluster is called.
    patience
        How long what is waited for.
    clock
        Seconds of a clock that only goes forward.
    chance
        Gives numbers between 0 and 1.
    """

    def __init__(
        self,
        pool: Pool,
        crew: Crew,
        name: str,
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._pool = pool
        self._crew = crew
        self.name = name
        """What the cluster is called."""
        self._patience = patience or Patience()
        self._clock = clock
        self._chance = chance
        self._kept: dict[str, Kept] = {}
        self._number = 0
        self._failures = _Failures()
        self._good_nodes: set[str] = set()
        self._silent = False
        self._notes: deque[str] = deque(maxlen=_TOLD)
        self._stopped = ""
        self.wanted = 0
        """Jobs that there should be."""
        self.unit_seconds = 0.0
        """What the shortest unit takes that there is; zero where that is not known."""

    @property
    def standing(self) -> Standing:
        """How the cluster stands."""
        kept = list(self._kept.values())
        staying = [each for each in kept if not each.leaving and not each.cancelled]
        waiting = [each for each in staying if each.seen.stage is Stage.WAITING]
        running = [each for each in staying if each.seen.stage is Stage.RUNNING]
        why = {each.seen.reason for each in waiting if each.seen.reason}
        return Standing(
            self.wanted,
            len(waiting),
            sum(not each.came for each in running),
            sum(each.came for each in running),
            sum(bool(each.leaving) for each in kept),
            self._stopped,
            (*self._notes, *(f"jobs wait: {each}" for each in sorted(why))),
        )

    def go_on(self) -> None:
        """Ask for jobs again after starts have failed."""
        self._failures, self._stopped = _Failures(), ""

    async def turn(self) -> None:
        """Compare what is wanted with what there is, and do what is missing."""
        try:
            seen = await self._pool.look()
            if self._silent:
                self._silent = False
                self._tell("the batch system answers again")
            await self._take_in(seen, self._crew.look())
            # That may have taken a while, in which workers have come and begun.
            members = self._crew.look()
            self._tell_time(members)
            await self._let_go(members)
            await self._ask_for_more()
        except PoolSilentError as error:
            if not self._silent:
                self._silent = True
                self._tell(f"{error}; the workers that run go on, and it is asked again")
            self._tell_time(self._crew.look())

    async def end(self) -> None:
        """Cancel everything; what the batch system does not hear now, its workers do by themselves.

        Raises
        ------
        PoolSilentError
            If the batch system does not answer.
        """
        self.wanted = 0
        # Those that were cancelled before, and go on, are seen below.
        await self._pool.give_up([job for job, each in self._kept.items() if not each.cancelled])
        self._kept.clear()
        # One that was being asked for when the keeper was stopped is not known yet.
        seen = await self._pool.look()
        await self._pool.give_up([job for job, each in seen.items() if _there(each)])

    # What there is.

    async def _take_in(self, seen: Mapping[str, Seen], members: Mapping[str, Member]) -> None:
        """Learn what has become of the jobs, and cancel those that are of no use."""
        now = self._clock()
        useless = [job for job, each in seen.items() if job not in self._kept and _there(each)]
        if useless:
            self._tell(f"{len(useless)} jobs that an earlier cluster has left are cancelled")
        gone = Seen(Stage.OVER, "gone", "the batch system does not know it any more")
        for job, kept in list(self._kept.items()):
            kept.known = kept.known or job in seen
            if not kept.known and now - kept.asked_at < self._patience.vanished_seconds:
                # Of what was just asked for, not all machines of AWS that answer know at once.
                continue
            kept.seen = seen.get(job, gone)
            member = members.get(kept.name)
            self._note_stage(kept, member, now)
            if kept.seen.stage is Stage.OVER:
                del self._kept[job]
                await self._over(kept)
            elif kept.cancelled:
                # It was not heard, or takes its time: once more does no harm.
                useless.append(job)
            elif kept.seen.stage is Stage.RUNNING:
                problem = self._stuck(kept, member, now)
                unfit = "" if member is None else member.unfit
                if problem or unfit:
                    kept.cancelled = True
                    useless.append(job)
                    if unfit:
                        self._failed(f"job {job} is of no use: {unfit}")
                    elif kept.came:
                        self._tell(f"job {job} is cancelled: {problem}")
                    else:
                        self._failed(f"job {job} {problem}", kept.seen.node)
                elif member is not None and not kept.leaving:
                    kept.leaving = self._why_leave(kept, member)
        if useless:
            await self._pool.give_up(useless)

    def _note_stage(self, kept: Kept, member: Member | None, now: float) -> None:
        if kept.seen.stage is not Stage.RUNNING:
            if kept.seen.stage is Stage.WAITING:
                # It waits once more: its workers are others when they come again.
                kept.running_since, kept.came, kept.leaving = None, False, ""
                kept.ends_at, kept.life = None, 0.0
            return
        if kept.running_since is None:
            kept.running_since = now
        if kept.seen.seconds_left is not None:
            kept.ends_at = now + kept.seen.seconds_left
            kept.life = max(kept.life, kept.seen.seconds_left)
        if member is not None and not member.unfit:
            if not kept.came:
                self._failures.number = 0
                self._good_nodes.add(kept.seen.node)
            kept.came, kept.here_at = True, now

    def _stuck(self, kept: Kept, member: Member | None, now: float) -> str:
        """Return why a job that runs is of no use; nothing if it is."""
        since = now if kept.running_since is None else kept.running_since
        if not kept.came and now - since > self._patience.start_seconds:
            return f"has run for {now - since:.0f} s and its worker has not reported"
        if kept.came and member is None and now - kept.here_at > self._patience.vanished_seconds:
            return "its worker has left, and it goes on"
        return ""

    def _why_leave(self, kept: Kept, member: Member) -> str:
        """Return why the workers of a job are to be given nothing more; nothing if they are."""
        if member.complaint:
            self._tell(f"{kept.seen.node or kept.name} takes no more work: {member.complaint}")
            self._shun(kept.seen.node)
            return member.complaint
        left = kept.seen.seconds_left
        if left is not None and left <= self._patience.margin_seconds + kept.early:
            return "its time is nearly up"
        useful = self._time_of(kept)
        shortest = self.unit_seconds
        if shortest and useful is not None and not useful.is_enough(shortest + kept.early):
            # Another one in its place has more.
            return f"its time is not enough for units of {shortest:.0f} s"
        return ""

    def _time_of(self, kept: Kept) -> TimeLeft | None:
        """Return the time in which the workers of a job have to be done."""
        if kept.ends_at is None:
            return None
        # What is left beside it is for telling what has come of it.
        end = self._patience.margin_seconds / 2
        return TimeLeft(kept.ends_at - self._clock() - end, kept.life - end)

    async def _over(self, kept: Kept) -> None:
        """Take in the end of a job."""
        seen = kept.seen
        if kept.cancelled or kept.leaving:
            return
        if kept.came or seen.given_up:
            self._tell(f"job {kept.job} has ended ({seen.state}): another one takes its place")
            return
        story = await self._pool.story(kept.job, kept.name)
        said = f"; it said: {story}" if story else ""
        self._failed(f"job {kept.job} ended ({seen.state}) without a worker{said}", seen.node)

    def _failed(self, why: str, node: str = "") -> None:
        """Take in a start that failed."""
        failures = self._failures
        failures.number += 1
        failures.not_before = self._clock() + min(_LONGEST_PAUSE, 2.0 ** (failures.number - 1))
        if self._good_nodes and node not in self._good_nodes:
            self._shun(node)
        self._tell(why)
        if failures.number >= self._patience.failed_starts and not self._stopped:
            self._stopped = (
                f"{failures.number} jobs in a row have brought no worker, so no more are asked "
                f"for; the last: {why}"
            )
            _log.error("the cluster %s: %s", self.name, self._stopped)

    def _shun(self, node: str) -> None:
        """Have no jobs go to a node, if it is known which one it is."""
        if node:
            self._failures.nodes[node] = self._clock()

    def _tell_time(self, members: Mapping[str, Member]) -> None:
        """Tell workers how much time they have; it passes, too, while nobody answers."""
        for kept in self._kept.values():
            member, left = members.get(kept.name), self._time_of(kept)
            if member is not None and left is not None:
                self._crew.tell(member, left)

    # What there should be.

    async def _let_go(self, members: Mapping[str, Member]) -> None:
        """Send workers home that are to leave or are too many, once they have nothing to do."""
        staying = self._staying()
        surplus = len(staying) - self.wanted
        unused = [each for each in staying if not each.came and each.name not in members]
        # The newest have waited for the shortest time.
        unused.sort(key=lambda each: each.seen.stage is Stage.WAITING)
        cancel = unused[::-1][: max(0, surplus)]
        if self._stopped:
            cancel = unused
        for each in cancel:
            each.cancelled = True
        if cancel:
            await self._pool.give_up([each.job for each in cancel])
        surplus -= len(cancel)
        home = []
        # Those that were to leave already go when they have finished.
        for each in self._kept.values():
            member = members.get(each.name)
            if each.leaving and member is not None:
                self._crew.hold(member)
                if member.idle and await self._crew.send_home(member):
                    home.append(each)
        for each in staying:
            member = members.get(each.name)
            if surplus <= 0 or member is None or each.cancelled or not member.idle:
                continue
            if await self._crew.send_home(member):
                each.leaving = "there is no work for it"
                home.append(each)
                surplus -= 1
        # A job whose workers have gone takes seconds to end by itself.
        if home:
            await self._pool.give_up([each.job for each in home])
        for each in home:
            each.cancelled = True

    async def _ask_for_more(self) -> None:
        staying = self._staying()
        missing = self.wanted - len(staying)
        if missing <= 0 or self._stopped or self._clock() < self._failures.not_before:
            return
        waiting = sum(each.seen.stage is Stage.WAITING for each in staying)
        missing = min(missing, self._patience.most_waiting - waiting)
        if self._failures.number:
            # One after the other, until it is known whether any comes.
            missing = min(missing, int(all(each.came for each in staying)))
        now, nodes = self._clock(), self._failures.nodes
        shunned = [each for each, since in nodes.items() if now - since < _SHUNNED_SECONDS]
        for _ in range(missing):
            self._number += 1
            name = f"{self.name}.{self._number}"
            try:
                job = await self._pool.ask(name, without=shunned)
            except PoolError as error:
                self._failed(str(error))
                return
            early = self._chance() * self._patience.stagger_seconds
            self._kept[job] = Kept(job, name, early, now, Seen(Stage.WAITING, "asked for"))

    def _staying(self) -> list[Kept]:
        """Return the jobs that count, the oldest first."""
        return [each for each in self._kept.values() if not each.leaving and not each.cancelled]

    def _tell(self, note: str) -> None:
        self._notes.append(note)
        _log.warning("the cluster %s: %s", self.name, note)


def _there(seen: Seen) -> bool:
    return seen.stage is not Stage.OVER
