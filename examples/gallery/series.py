"""Series in time: what one place of the frames does, filtered, and its spectrum.

python examples/gallery/series.py [FOLDER]
"""

import numpy as np
from water import DOT, FILES, LINE, RATE, frames, label, picture, show

from forebay import ops

seen = frames(len(FILES))
y, x = (int(n) for n in np.unravel_index(np.argmax(seen.std("t").values), seen.shape[1:]))
series = seen[:, y - 1 : y + 2, x - 1 : x + 2].mean(("y", "x"))
series = series.assign_coords(t=np.arange(len(FILES)) / RATE)

slow = ops.filter_series(series, high=3.0)
density = ops.welch(series, segment=32)
spectrum = ops.welch(slow, segment=32)

with picture("series", 3) as panels:
    show(panels[0], seen[0], "one place in the frames")
    panels[0].plot(x, y, "o", mfc="none", mec=DOT, ms=14)
    panels[1].plot(series["t"], series, color=LINE, label="before")
    panels[1].plot(slow["t"], slow, color=DOT, label="up to 3 Hz")
    panels[1].legend(fontsize=7)
    label(panels[1], "its brightness", "seconds", "count")
    panels[2].semilogy(density["freq_t"], density, color=LINE, label="before")
    panels[2].semilogy(spectrum["freq_t"], spectrum, color=DOT, label="up to 3 Hz")
    panels[2].legend(fontsize=7)
    label(panels[2], "its spectrum", "hertz", "count² per hertz")
