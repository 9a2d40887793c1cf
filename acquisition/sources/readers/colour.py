"""Colour images as frames: one grey plane, or an axis of channels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown

_ALPHA = (2, 4)
_SAMPLES = (1, 2, 3, 4)


class Colour:
    """Lays out images that may have colour and alpha; the first image decides for all.

    An image whose red, green and blue are the same in every pixel is grey and becomes (y, x); any
    other becomes (c, y, x).  An alpha channel that hides nothing is left out.
    """

    def __init__(self) -> None:
        self.grey: bool | None = None
        """Whether colour images are taken as grey; None before the first."""

    def lay_out(self, samples: npt.NDArray[Any], what: object) -> npt.NDArray[Any]:
        """Return a frame from (y, x) pixels or (y, x, sample) samples.

        Raises
        ------
        SourceError
            If something shows through, the number of samples is none that is known, or the image
            has colours and the first one had none.
        """
        if samples.ndim != 3:
            return samples
        count = samples.shape[2]
        if count not in _SAMPLES:
            raise SourceError(
                f"{shown(what)} has {count} samples in a pixel; grey, RGB and each with alpha "
                "are known: save the channels as separate planes"
            )
        if count in _ALPHA:
            opaque = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
            if not bool((samples[..., -1] == opaque).all()):
                raise transparent(what)
            samples = samples[..., :-1]
        if samples.shape[2] == 1:
            return np.ascontiguousarray(samples[..., 0])
        first = samples[..., 0]
        equal = all(np.array_equal(first, samples[..., c]) for c in (1, 2))
        if self.grey is None:
            self.grey = equal
        if self.grey and not equal:
            raise SourceError(
                f"{shown(what)} has colours, but the first frame is grey and so the recording is "
                "taken as grey; leave out the grey frames at the start, or convert all to grey"
            )
        return np.ascontiguousarray(first if self.grey else np.moveaxis(samples, 2, 0))


def transparent(what: object) -> SourceError:
    """Return the error for an image through which something shows."""
    return SourceError(
        f"{shown(what)} has transparent pixels, which a camera does not make; "
        "save it without an alpha channel"
    )
