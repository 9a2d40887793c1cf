"""The local socket of a running acquisition: who may ask it what, and what it tells."""

from forebay.acquisition.control.client import ControlClient
from forebay.acquisition.control.messages import (
    ClosedEvent,
    CommittedEvent,
    Event,
    NotedEvent,
    StateEvent,
)
from forebay.acquisition.control.requests import Controlled
from forebay.acquisition.control.running import running_acquisitions
from forebay.acquisition.control.server import ControlServer

__all__ = [
    "ClosedEvent",
    "CommittedEvent",
    "ControlClient",
    "ControlServer",
    "Controlled",
    "Event",
    "NotedEvent",
    "StateEvent",
    "running_acquisitions",
]
