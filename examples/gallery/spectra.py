"""Spectra: how much of each frame varies over which distance, and how fine it really is.

python examples/gallery/spectra.py [FOLDER]
"""

import numpy as np
import xarray as xr
from water import DOT, LINE, frames, label, picture, show

from forebay import ops

seen = frames(16, columns=slice(60, 220))
still = ops.background(seen)

before = ops.power_spectrum(seen).mean("t")
moving = ops.power_spectrum(ops.subtract_background(seen, still)).mean("t")
curves = {
    "frames": (ops.radial_average(before), LINE),
    "less what lies still": (ops.radial_average(moving), DOT),
}

with picture("spectra", 4) as panels:
    show(panels[0], seen[0], "before")
    show(panels[1], xr.apply_ufunc(np.log10, before + 1e-6), "power spectrum (log)")
    show(panels[2], xr.apply_ufunc(np.log10, moving + 1e-6), "of what moves (log)")
    for name, (curve, colour) in curves.items():
        (frequency,) = curve.dims
        panels[3].loglog(curve[frequency][1:], curve[1:], label=name, color=colour)
    panels[3].legend(fontsize=7)
    label(panels[3], "averaged over directions", "cycles per pixel", "power")
