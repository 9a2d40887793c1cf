"""What a scheduler keeps of tasks that are gone."""

from collections.abc import Callable
from typing import Any

from forebay.engine.execution.dask_names import MOST

GROUP = "forebay-unit"
"""The first word of the names of our tasks."""

_SECONDS = 300.0
"""For how long after the end of a span the scheduler has to have heard of every worker."""


class SchedulerTraces:
    """Lets a scheduler forget the tasks that it was handed, of whatever cluster it is.

    Beside their names, Dask keeps for ever what each of them was made of, and a span for each time
    that there was nothing to do between two of them: 0.3 KB and 5 KB, and so half a gigabyte a day
    where a block comes each second.

    Parameters
    ----------
    client
        A `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        # Those before may have handed it fewer, and left them.
        self._handed = MOST + 1

    def handed(self) -> None:
        """Count a task that the scheduler was handed."""
        self._handed += 1

    async def forget(self) -> None:
        """Let the scheduler forget, once the tasks are many."""
        if self._handed > MOST:
            self._handed = 0
            await self._client.run_on_scheduler(_forgetting(GROUP, _SECONDS))


def _forgetting(ours: str, seconds: float) -> Callable[[Any], None]:
    """Return what the scheduler does.

    What is made within a function is sent whole, so that the scheduler needs nothing of ours.
    """

    def forget(dask_scheduler: Any) -> None:
        from time import time

        from dask.utils import key_split

        key_split.cache_clear()
        kept = dask_scheduler.extensions.get("spans")
        if kept is None:
            return
        heard = min((each.last_seen for each in dask_scheduler.workers.values()), default=time())
        in_use = {each.span_id for each in dask_scheduler.task_groups.values()}
        gone = set()
        for span in kept.spans.values():
            if span.children or {each.name for each in span.groups} != {ours}:
                continue
            if span.metadata:
                span.metadata["collections"].clear()
            getattr(span, "_metadata_seen", set()).clear()
            # A worker whose figures are of a span that is not there is told to end.
            over = span.id not in in_use and span.stop < heard - seconds
            if over and span.name == ("default",):
                gone.add(span.id)
        for found in (
            kept.root_spans,
            kept.spans_search_by_name["default",],
            kept.spans_search_by_tag["default"],
        ):
            found[:] = [each for each in found if each.id not in gone]
        for each in gone:
            del kept.spans[each]

    return forget
