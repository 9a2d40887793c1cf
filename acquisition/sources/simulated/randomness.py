"""Random numbers that depend on a seed and on what they are for, never on the order of use."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for; each purpose has its own."""

    START = 0
    """Where the emitters are at first."""
    WALK = 1
    """How they diffuse."""
    NOISE = 2
    """The noise of a frame."""
    LOSS = 3
    """Which exposures the camera does not deliver."""


def generator(seed: int, stream: Stream, at: int = 0) -> np.random.Generator:
    """Return the generator for one purpose at one place, such as a frame number."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, at)))
