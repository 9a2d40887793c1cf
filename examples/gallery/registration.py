"""Registration: a run that drifts is measured, and put right.

python examples/gallery/registration.py [FOLDER]
"""

import numpy as np
import xarray as xr
from water import DOT, LINE, frames, label, picture, show

from forebay import ops

# A window that wanders over the frames: the run drifts by as much, the other way.
wide = frames(16)
path = np.round(np.stack([0.9 * np.arange(16), 12 * np.sin(np.arange(16) / 5)], axis=1)).astype(int)
cut = [wide[n, 16 + dy : 144 + dy, 20 + dx : 180 + dx].values for n, (dy, dx) in enumerate(path)]
seen = xr.DataArray(np.stack(cut), dims=("t", "y", "x"))

drift = ops.estimate_drift(seen, reference="running", memory=8)
still = ops.correct_drift(seen, drift)

with picture("registration", 4) as panels:
    show(panels[0], seen[0], "the first frame")
    show(panels[1], seen.mean("t"), "before: the mean of all")
    show(panels[2], still.mean("t"), "after: the mean of all")
    for number, (name, colour) in enumerate((("y", LINE), ("x", DOT))):
        panels[3].plot(-(path - path[0])[:, number], ".", color=colour, label=f"{name}, true")
        panels[3].plot(drift.sel(axis=name), color=colour, label=f"{name}, found")
    panels[3].legend(fontsize=7)
    label(panels[3], "the drift", "frame", "pixels")
