"""Correction: what lies still, uneven light, and pixels that do not work are taken out.

python examples/gallery/correction.py [FOLDER]
"""

import numpy as np
import xarray as xr
from water import frames, picture, show

from forebay import ops

seen = frames(32).astype("float32")
# The camera is better than that: twenty pixels are made hot, and the light falls off to the right.
random = np.random.default_rng(4)
rows, columns = random.integers(4, 150, 20), random.integers(4, 190, 20)
dimmer = np.linspace(1.0, 0.5, seen.sizes["x"])
seen.values[:] = seen * dimmer
seen.values[:, rows, columns] = 250

# Of a camera of one's own, `bad_pixels` finds them in frames without light.
hot = xr.zeros_like(seen[0], dtype=bool)
hot.values[rows, columns] = True
clean = ops.replace_bad_pixels(seen, hot)
light = ops.estimate_illumination(clean, sigma=15)
even = ops.flat_field(clean, flat=light)
moving = ops.subtract_background(even, ops.background(even))

with picture("correction", 4) as panels:
    show(panels[0], seen[0], "before")
    show(panels[1], clean[0], "without bad pixels")
    show(panels[2], even[0], "and evenly lit")
    show(panels[3], moving[0], "less what lies still")
