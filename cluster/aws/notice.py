"""Looking out for the notice that an instance is to be taken away, and leaving in time.

Loaded by Dask into every worker on EC2.  Some two minutes before a spot instance is taken away,
its own metadata service says so.
"""

import asyncio
import http.client
import json
import logging
import os
from typing import Any
from urllib.parse import urlsplit

from forebay.cluster.drain import drain

ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""Where AWS's own libraries look for the metadata service, too."""
LOOK_SECONDS = 5.0
"""How often AWS asks to look for the notice."""
FINISH_SECONDS = 90.0
"""Time for what is being computed; the rest of the two minutes is for leaving."""
_ENDPOINT = "http://169.254.169.254"
_NOTICES = (
    "/latest/meta-data/spot/instance-action",
    "/latest/meta-data/autoscaling/target-lifecycle-state",
)
_NO_NOTICE = {"InService", ""}
_PATIENCE = 2.0

_log = logging.getLogger(__name__)


class _Lookout:
    """What looks out beside one worker."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._leaving = False
        self._task = asyncio.create_task(self._look_out())

    async def _look_out(self) -> None:
        while not (notice := await asyncio.to_thread(read_notice)):
            await asyncio.sleep(LOOK_SECONDS)
        self._leaving = True
        reason = f"AWS takes its instance: {notice}"
        await drain(self._worker, within=FINISH_SECONDS, reason=reason)

    def close(self) -> None:
        # What makes the worker leave is not to be stopped by its leaving.
        if not self._leaving:
            self._task.cancel()


async def dask_setup(worker: Any) -> None:
    """Begin to look out, beside the worker."""
    worker.forebay_lookout = _Lookout(worker)


async def dask_teardown(worker: Any) -> None:
    """Stop looking out."""
    worker.forebay_lookout.close()


def read_notice() -> str:
    """Return what the metadata service says of an end that is near; empty where there is none."""
    host = urlsplit(os.environ.get(ENDPOINT_VARIABLE) or _ENDPOINT).netloc
    connection = http.client.HTTPConnection(host, timeout=_PATIENCE)
    try:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _ask(connection, "PUT", "/latest/api/token", lifetime)
        for path in _NOTICES:
            said = _ask(connection, "GET", path, {"X-aws-ec2-metadata-token": token}).strip()
            if said not in _NO_NOTICE:
                return _described(said)
    except (OSError, http.client.HTTPException) as error:
        # It answers again, or the instance is gone.
        _log.debug("the metadata service does not answer: %s", error)
    finally:
        connection.close()
    return ""


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]
) -> str:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read().decode(errors="replace")
    return content if answer.status == http.client.OK else ""


def _described(said: str) -> str:
    try:
        notice = json.loads(said)
        return f"{notice['action']} at {notice['time']}"
    except (ValueError, TypeError, KeyError):
        return said
