"""How tiers fill and how fast moves may go, as ``forebay tier status`` shows it."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from forebay.cli.output import seconds, size

if TYPE_CHECKING:
    from forebay.cli.session import Session
    from forebay.tiering.catalogue.migrating import Database
    from forebay.tiering.continuous.rule import Allowed, Outlook
    from forebay.tiering.storage.tiers import Tiers


def look_ahead(
    call: "Session", database: "Database", tiers: "Tiers"
) -> "tuple[list[Outlook], Allowed, Mapping[str, int]]":
    """Return how each tier fills, how fast a service on this machine would move now, and how many.

    That is how many closed runs there are in each tier that the catalogue does not know.
    """
    from forebay.acquisition.control import running_acquisitions
    from forebay.engine.queue.lanes import Lane
    from forebay.engine.queue.waiting import work_waits
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.continuous.filling import FillingWatch
    from forebay.tiering.continuous.outlook import outlooks
    from forebay.tiering.continuous.rule import Situation, allowed

    catalogue = Catalogue(database)
    watch = FillingWatch(tiers, catalogue)
    watch.search()
    found = outlooks(catalogue, tiers, watch.look())
    settings = call.settings.tiering
    pace = allowed(
        Situation(
            outlooks=found,
            flows=[str(each["flow"]) for each in running_acquisitions()],
            realtime_waits=work_waits(database, Lane.REALTIME),
        ),
        gentle=settings.recording_bandwidth,
        grace_seconds=settings.grace_seconds,
    )
    return found, pace, watch.unknown


def outlook_fields(outlook: "Outlook") -> dict[str, Any]:
    """Return how a tier fills, as JSON can carry it; null is never."""
    return {
        "tier": outlook.tier,
        "bytes": outlook.used_bytes - outlook.arriving_bytes,
        "arriving_bytes": outlook.arriving_bytes,
        "capacity": outlook.capacity,
        "bytes_per_second": outlook.bytes_per_second,
        "seconds_to_high": _finite(outlook.seconds_to_high),
        "seconds_to_full": _finite(outlook.seconds_to_full),
        "leaving_bytes": outlook.leaving_bytes,
    }


def outlook_rows(outlooks: "list[Outlook]") -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table of tiers: name, used, arriving, of, filling, watermark in, full in."""
    for each in outlooks:
        yield (
            each.tier,
            size(each.used_bytes - each.arriving_bytes),
            size(each.arriving_bytes) if each.arriving_bytes else "-",
            "any" if each.capacity is None else size(each.capacity),
            f"{size(each.bytes_per_second)}/s" if each.bytes_per_second else "-",
            seconds(_finite(each.seconds_to_high)),
            seconds(_finite(each.seconds_to_full)),
        )


def unknown_lines(unknown: Mapping[str, int]) -> Iterator[str]:
    """Yield what is lacking in what is used, as sentences."""
    for tier, runs in unknown.items():
        yield (
            f"{tier}: {runs} closed {'run is' if runs == 1 else 'runs are'} not in the catalogue, and "
            "not counted here: 'forebay tier plan' takes in what can be moved"
        )


def pace_fields(interval: float | None, pace: "Allowed") -> dict[str, Any]:
    """Return how moves go, as JSON can carry it; null is as fast as can be."""
    return {
        "interval_seconds": interval,
        "moves_bytes_per_second": _finite(pace.bytes_per_second),
        "because": pace.because,
    }


def pace_line(interval: float | None, pace: "Allowed") -> str:
    """Return how moves go, as a sentence."""
    if interval is None:
        return "runs are moved by 'forebay tier apply' alone: 'tiering.interval_seconds' is not set"
    rate = pace.bytes_per_second
    how = "as fast as can be" if math.isinf(rate) else f"at {size(rate)}/s" if rate else "not"
    return f"'forebay serve' moves runs every {interval:g} s, now {how}: {pace.because}"


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
