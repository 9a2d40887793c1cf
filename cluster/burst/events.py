"""Decisions about the costlier cluster, kept with the figures that they come from."""

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from forebay.cluster.burst.rule import Decision

_log = logging.getLogger("forebay.cluster")


@dataclass(slots=True)
class DecisionLog:
    """Writes down each decision that is not the same as the one before.

    Parameters
    ----------
    path
        A file that a line of JSON is added to for each.
    """

    path: Path
    _last: str = ""

    def take(self, cluster: str, decision: Decision) -> None:
        """Write a decision down, if it changes anything or has another kind of reason."""
        # Waits and times differ at every look; the words around them say whether it is news.
        kind = "".join(each for each in decision.reason if not each.isdigit())
        if not decision.change and kind == self._last:
            return
        self._last = kind
        event = {
            "at": time.time(),
            "event": "burst",
            "cluster": cluster,
            "workers": decision.workers,
            "change": decision.change,
            "reason": decision.reason,
            "figures": decision.figures,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if decision.change:
            _log.warning("%s: %d workers, %s", cluster, decision.workers, decision.reason)
