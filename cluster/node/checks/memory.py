"""Memory in huge pages."""

import functools
import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import HUGE_PAGE_EFFORT, HUGE_PAGES, SHARED_HUGE_PAGES
from forebay.cluster.node.wishes import Attribute

_RESERVED = "sys/kernel/mm/hugepages"


def _transparent(wish: Attribute, machine: Machine, purpose: Purpose, _: str) -> Iterator[Seen]:
    found = machine.choice(wish.pattern)
    yield Seen(wish.verdict(purpose.role, found), found, wish.told(purpose.role))


def _reserved(machine: Machine, _purpose: Purpose, size: str) -> Iterator[Seen]:
    found = re.fullmatch(r"hugepages-([0-9]{1,9})kB", size)
    if not found:
        raise UnreadableError(f"/{_RESERVED}/{size} is of no size that is known")
    free = machine.number(f"{_RESERVED}/{size}/free_hugepages")
    taken = machine.number(f"{_RESERVED}/{size}/nr_hugepages")
    unused = free * int(found[1]) / 2**20
    told = f"{taken} pages reserved, {unused:.1f} GiB of them unused"
    # A page or two are nothing to speak of.
    yield Seen(Verdict.BETTER if unused > 1 else Verdict.OK, told, "no unused reserve")


def _sizes(machine: Machine, _purpose: Purpose) -> list[str]:
    return machine.names(_RESERVED)


CHECKS = (
    *(
        Check(
            name=f"huge pages {wish.key}",
            reads=(wish.pattern,),
            why=wish.why,
            mend="set it with 'forebay tune' (tmpfiles.d)",
            look=functools.partial(_transparent, wish),
            roles=frozenset(wish.values),
        )
        for wish in (HUGE_PAGES, SHARED_HUGE_PAGES, HUGE_PAGE_EFFORT)
    ),
    Check(
        name="huge pages reserved",
        reads=(f"{_RESERVED}/*/nr_hugepages", f"{_RESERVED}/*/free_hugepages"),
        why="Pages that are reserved beforehand are lost to everybody who does not ask for them by "
        "name; forebay takes transparent ones.",
        mend="if no other program needs them, take vm.nr_hugepages or hugepages= back to 0",
        look=_reserved,
        subjects=_sizes,
        nothing="none is reserved",
    ),
)
