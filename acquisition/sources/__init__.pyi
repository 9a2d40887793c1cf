"""Sources of frames: recordings, cameras, what is sent or handed over, and a simulated camera."""

from .callback import CallbackSource
from .genicam.source import GenicamSource
from .network.sender import FrameSender
from .network.source import NetworkSource
from .opening import open_source
from .replay import ReplaySource
from .shared_memory.source import SharedMemorySource
from .simulated.scene import Emitters, Scene
from .simulated.source import SimulatedSource
from .synchronised.source import SynchronisedSource

__all__ = [
    "CallbackSource",
    "Emitters",
    "FrameSender",
    "GenicamSource",
    "NetworkSource",
    "ReplaySource",
    "Scene",
    "SharedMemorySource",
    "SimulatedSource",
    "SynchronisedSource",
    "open_source",
]
