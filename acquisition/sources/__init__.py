"""Sources of frames: recordings, cameras, what is sent or handed over, and a simulated camera."""

from forebay.acquisition.sources.callback import CallbackSource
from forebay.acquisition.sources.genicam.source import GenicamSource
from forebay.acquisition.sources.network.sender import FrameSender
from forebay.acquisition.sources.network.source import NetworkSource
from forebay.acquisition.sources.opening import open_source
from forebay.acquisition.sources.replay import ReplaySource
from forebay.acquisition.sources.shared_memory.source import SharedMemorySource
from forebay.acquisition.sources.simulated.scene import Emitters, Scene
from forebay.acquisition.sources.simulated.source import SimulatedSource
from forebay.acquisition.sources.synchronised.source import SynchronisedSource

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
