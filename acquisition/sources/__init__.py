"""Sources of frames: recordings that are replayed, and a simulated camera."""

from forebay.acquisition.sources.opening import open_source
from forebay.acquisition.sources.replay import ReplaySource
from forebay.acquisition.sources.simulated.scene import Emitters, Scene
from forebay.acquisition.sources.simulated.source import SimulatedSource

__all__ = ["Emitters", "ReplaySource", "Scene", "SimulatedSource", "open_source"]
