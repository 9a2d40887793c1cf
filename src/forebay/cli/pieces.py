"""What lies where, as ``forebay tier status`` shows it: a line for each run or result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from forebay.cli.output import size

if TYPE_CHECKING:
    from forebay.tiering.catalogue.records import RunRecord


def piece_rows(
    known: "Iterable[RunRecord]", lies: Mapping[str, Sequence[str]], *, together: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a table of what the catalogue knows: name, size, the tiers it lies in.

    Parameters
    ----------
    known
        What it knows.
    lies
        The tiers that have a copy, by its identity.
    together
        Whether the volumes of a run make one row, with the bytes in each place where those
        differ.
    """
    homes: dict[tuple[str, str], list[RunRecord]] = {}
    for each in known:
        homes.setdefault((each.home if together else each.run_id, each.kind), []).append(each)
    for pieces in homes.values():
        places: dict[str, int] = {}
        for each in pieces:
            where = ", ".join(lies[each.run_id]) or "no tier"
            places[where] = places.get(where, 0) + each.bytes
        name = pieces[0].shown
        if len(pieces) > 1:
            name = f"{pieces[0].name} ({len(pieces)} volumes)"
        told = (
            places if len(places) == 1 else [f"{where}: {size(n)}" for where, n in places.items()]
        )
        yield name, size(sum(places.values())), "; ".join(told)
