"""What a client may ask of a cluster that is kept."""

from typing import Any

from forebay.cluster.errors import ClusterError
from forebay.cluster.sizing import Demand

KEY = "forebay-keeper"
"""The scheduler's metadata that says that it is kept."""
_ANSWER_SECONDS = 30.0


def is_kept(client: Any) -> bool:
    """Tell whether the cluster of a client is sized by what is asked of it.

    Raises
    ------
    OSError
        If its scheduler does not answer.
    """
    return bool(_asked(client, "get_metadata", keys=[KEY], default=False))


def tell_demand(client: Any, who: str, demand: Demand) -> dict[str, Any]:
    """Tell a cluster how much work somebody has for it; return how it stands.

    Raises
    ------
    OSError
        If its scheduler does not answer.
    """
    answer: dict[str, Any] = _asked(
        client,
        "forebay_demand",
        who=who,
        seconds=demand.seconds,
        units=demand.units,
        data=dict(demand.data),
        larger=demand.larger,
        deadline_in=demand.deadline_in,
        paying=demand.paying,
        unit_seconds=demand.unit_seconds,
    )
    return answer


def scale(client: Any, workers: int | None) -> dict[str, Any]:
    """Let a cluster keep so many workers; for None, as many as the work needs.

    Raises
    ------
    ClusterError
        If it refuses.
    """
    return _checked(_asked(client, "forebay_scale", workers=workers))


def standing(client: Any) -> dict[str, Any]:
    """Return how a cluster stands."""
    answer: dict[str, Any] = _asked(client, "forebay_standing")
    return answer


def stop(client: Any) -> None:
    """End a cluster.

    Raises
    ------
    ClusterError
        If it refuses.
    """
    _checked(_asked(client, "forebay_stop"))


def _asked(client: Any, operation: str, **arguments: Any) -> Any:
    async def ask() -> Any:
        return await getattr(client.scheduler, operation)(**arguments)

    return client.sync(ask, callback_timeout=_ANSWER_SECONDS)


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if refused := answer.get("refused"):
        raise ClusterError(str(refused))
    return answer
