"""How full tiers are, and when they will have no room left."""

import math
import shutil
from collections.abc import Mapping

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.continuous.filling import Filling
from forebay.tiering.continuous.rule import Outlook, lead_seconds
from forebay.tiering.specification import TieringSettings
from forebay.tiering.storage.tiers import Tier, Tiers


def outlooks(catalogue: Catalogue, tiers: Tiers, fillings: Mapping[str, Filling]) -> list[Outlook]:
    """Return how each tier fills.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    fillings
        What recorders do to them, by their names.
    """
    used = catalogue.used()
    leaving = Moves(catalogue.database).leaving()
    arriving = catalogue.arriving()
    return [
        _outlook(
            tier,
            used.get(tier.name, 0),
            fillings.get(tier.name, Filling()),
            leaving.get(tier.name, 0),
            arriving.get(tier.name, 0),
        )
        for tier in tiers
    ]


def expected_bytes(
    tiers: Tiers, fillings: Mapping[str, Filling], settings: TieringSettings
) -> dict[str, int]:
    """Return the bytes that policies have to find room for, beside those of the catalogue.

    They are those of open runs, and those that will have come by the time at which what is freed
    from now on is free.
    """
    expected = {}
    for tier in tiers:
        filling, specification = fillings.get(tier.name), tier.specification
        if filling is not None and specification.capacity is not None:
            lead = lead_seconds(
                capacity=specification.capacity,
                low=specification.low,
                high=specification.high,
                gentle=settings.recording_bandwidth,
                grace_seconds=settings.grace_seconds,
            )
            expected[tier.name] = filling.open_bytes + int(filling.bytes_per_second * lead)
    return expected


def _outlook(tier: Tier, used: int, filling: Filling, leaving: int, arriving: int) -> Outlook:
    capacity = tier.specification.capacity
    used += filling.open_bytes
    room = math.inf if capacity is None else float(capacity - used)
    to_high = math.inf if capacity is None else tier.specification.high * capacity - used
    if tier.folder is not None and tier.folder.is_dir():
        room = min(room, shutil.disk_usage(tier.folder).free)
    return Outlook(
        tier=tier.name,
        used_bytes=used,
        capacity=capacity,
        bytes_per_second=filling.bytes_per_second,
        seconds_to_high=_seconds(to_high, filling.bytes_per_second),
        seconds_to_full=_seconds(room, filling.bytes_per_second),
        leaving_bytes=leaving,
        arriving_bytes=arriving,
    )


def _seconds(room: float, rate: float) -> float:
    return max(0.0, room) / rate if rate > 0 else math.inf
