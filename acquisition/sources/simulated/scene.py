"""A scene of point emitters in front of a camera, frame by frame."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.parameters import real, whole
from forebay.acquisition.sources.simulated.motion import brownian
from forebay.acquisition.sources.simulated.optics import expected_photons
from forebay.acquisition.sources.simulated.randomness import Stream, generator


class Emitters(NamedTuple):
    """Emitters at one frame: four arrays of the same length."""

    particle: npt.NDArray[np.int64]
    """Which emitter it is, 0 to ``emitters - 1``; the same in all frames."""
    y: npt.NDArray[np.float64]
    """Row in pixels, 0 in the middle of the first pixel."""
    x: npt.NDArray[np.float64]
    """Column in pixels, 0 in the middle of the first pixel."""
    photons: npt.NDArray[np.float64]
    """Mean photons that it sends to the camera in this frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Emitters that drift, diffuse and bleach, and the noise of the camera that sees them.

    A frame depends on the parameters and its number alone, so that any frame can be had at any
    time and is the same each time, with the same version of NumPy.

    Raises
    ------
    SourceError
        If a parameter is of the wrong type or out of range.

    Notes
    -----
    A pixel that expects m photons gives ``offset + gain × (Poisson(m) + Normal(0, read_noise))``
    counts, rounded, and clipped to 0 and ``2**bits - 1``: the noise model of Huang et al., Nature
    Methods 10, 653 (2013), with all pixels alike.  Photons are those that the sensor detects.
    Emitters stand still during an exposure.

    Emitters start anywhere in the field of view with equal chance, and may overlap.  One that
    moves out of the field is not replaced.

    Examples
    --------
    >>> scene = Scene(shape=(64, 64), emitters=3, seed=1)
    >>> scene.image(7).shape, scene.emitters_at(7).particle.tolist()
    ((64, 64), [0, 1, 2])
    """

    shape: tuple[int, int] = (256, 256)
    """Height and width of a frame, pixels."""
    emitters: int = 50
    """Number of emitters."""
    photons: float = 2000.0
    """Mean photons from an emitter in frame 0, over all pixels."""
    sigma: float = 1.5
    """Standard deviation of an emitter's image, pixels."""
    background: float = 20.0
    """Mean photons in each pixel that come from no emitter."""
    drift: tuple[float, float] = (0.0, 0.0)
    """What all emitters move together, y and x, pixels per frame."""
    diffusion: float = 0.0
    """Diffusion coefficient D, pixels² per frame: the variance along an axis grows by 2 D."""
    bleaching: float = 0.0
    """Rate at which all emitters fade: after k frames, photons × exp(−bleaching × k) are left."""
    read_noise: float = 1.5
    """Standard deviation of the camera's noise, photoelectrons."""
    gain: float = 1.0
    """Counts for a photoelectron."""
    offset: float = 100.0
    """Counts in the dark."""
    bits: int = 16
    """Bits of a count, 1 to 16; pixels are uint16."""
    seed: int = 0
    """Decides all that is random."""

    def __post_init__(self) -> None:
        for name, whole_limits in _WHOLE.items():
            self._set(name, whole(name, getattr(self, name), *whole_limits))
        for name, limits in _REAL.items():
            self._set(name, real(name, getattr(self, name), *limits))
        self._set("shape", tuple(whole("shape", side, 1, 2**15) for side in self._pair("shape")))
        self._set("drift", tuple(real("drift", step, -1e3, 1e3) for step in self._pair("drift")))

    @property
    def top(self) -> int:
        """The largest count; a pixel that has it is saturated."""
        return int(2**self.bits - 1)

    def emitters_at(self, frame_id: int) -> Emitters:
        """Return all emitters at a frame, those outside the field of view among them."""
        height, width = self.shape
        start = generator(self.seed, Stream.START).random((self.emitters, 2))
        positions = start * (height, width) - 0.5 + np.multiply(self.drift, frame_id)
        if self.diffusion:
            steps = brownian(self.seed, self.emitters, frame_id)
            positions = positions + math.sqrt(2 * self.diffusion) * steps
        left = self.photons * math.exp(-self.bleaching * frame_id)
        return Emitters(
            np.arange(self.emitters),
            positions[:, 0],
            positions[:, 1],
            np.full(self.emitters, left),
        )

    def visible_at(self, frame_id: int) -> Emitters:
        """Return the emitters whose centres lie within the field of view at a frame."""
        every = self.emitters_at(frame_id)
        height, width = self.shape
        inside = (every.y >= -0.5) & (every.y < height - 0.5)
        inside &= (every.x >= -0.5) & (every.x < width - 0.5)
        return Emitters(
            every.particle[inside], every.y[inside], every.x[inside], every.photons[inside]
        )

    def expected(self, frame_id: int) -> npt.NDArray[np.float64]:
        """Return the mean photons in each pixel of a frame: the image without noise."""
        every = self.emitters_at(frame_id)
        return expected_photons(
            self.shape,
            np.column_stack([every.y, every.x]),
            every.photons,
            self.sigma,
            self.background,
        )

    def image(self, frame_id: int) -> npt.NDArray[np.uint16]:
        """Return a frame as the camera gives it, in counts."""
        random = generator(self.seed, Stream.NOISE, frame_id)
        counts = random.poisson(self.expected(frame_id)).astype(np.float32)
        if self.read_noise:
            counts += np.float32(self.read_noise) * random.standard_normal(self.shape, np.float32)
        counts *= np.float32(self.gain)
        counts += np.float32(self.offset)
        return np.clip(np.rint(counts), 0, self.top).astype(np.uint16)

    def as_json(self) -> Mapping[str, Any]:
        """Return the parameters as they go into a run's metadata."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    def _pair(self, name: str) -> tuple[object, object]:
        value = getattr(self, name)
        if isinstance(value, Sequence) and len(value) == 2:
            return value[0], value[1]
        raise SourceError(f"{name} cannot be {shown(repr(value))}; give two numbers, y first")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


_WHOLE = {
    "emitters": (0, 1_000_000),
    "bits": (1, 16),
    "seed": (0, 2**63 - 1),
}
_REAL = {
    "photons": (0.0, 1e7),
    "sigma": (0.05, 1e3),
    "background": (0.0, 1e7),
    "diffusion": (0.0, 1e6),
    "bleaching": (0.0, 1e3),
    "read_noise": (0.0, 1e6),
    "gain": (1e-6, 1e6),
    "offset": (0.0, 65535.0),
}
