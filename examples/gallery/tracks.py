"""Tracks: which particle of one frame is which of the next, and how far they get.

python examples/gallery/tracks.py [FOLDER]
"""

import numpy as np
import pandas as pd
from water import DOT, FILES, LINE, RATE, frames, label, picture, show

from forebay import ops

PIXELS_PER_MICROMETRE = 2.85

seen = frames(len(FILES), rows=slice(40, 220), columns=slice(60, 300))

found = ops.find_particles(seen, diameter=11, minmass=150, invert=True)
assert isinstance(found, pd.DataFrame)  # of eager frames
table = ops.link(found, search_range=6, memory=2).table
long = table.groupby("track").filter(lambda rows: len(rows) >= 20)
table = long.assign(**{place: long[place] / PIXELS_PER_MICROMETRE for place in ("y", "x")})
spread = ops.mean_squared_displacement(table, max_lag=16)
lags = spread["lag"] / RATE

with picture("tracks", 3) as panels:
    show(panels[0], seen[0], "before")
    show(panels[1], seen[0], f"{long['track'].nunique()} tracks of 20 frames or more")
    for _, rows in long.groupby("track"):
        panels[1].plot(rows["x"], rows["y"], lw=1)
    slope = float((spread * lags).sum() / (lags**2).sum())
    panels[2].plot(lags, spread, "o", ms=4, color=DOT)
    panels[2].plot(np.r_[0, lags], slope * np.r_[0, lags], color=LINE)
    label(
        panels[2], f"they diffuse with {slope / 4:.2f} µm²/s",
        "seconds", "mean squared displacement, µm²",
    )  # fmt: skip
