"""Filters in time: what stays, what moves, and what a smoother series shows of it.

python examples/gallery/temporal.py [FOLDER]
"""

import numpy as np
from water import DOT, LINE, frames, label, picture, show

from forebay import ops

seen = frames(32)
middle = 16

still = ops.running_median(seen, window=15)
moving = seen - still
smooth = ops.exponential_filter(seen, alpha=0.2)

with picture("temporal", 4) as panels:
    show(panels[0], seen[middle], "before")
    show(panels[1], moving[middle], "less its running median")
    show(panels[2], smooth[middle], "exponential filter")
    y, x = np.unravel_index(np.argmax(seen.std("t").values), seen.shape[1:])
    panels[3].plot(seen[:, y, x], color=LINE, label="before")
    panels[3].plot(smooth[:, y, x], color=DOT, label="exponential")
    panels[3].legend(fontsize=7)
    label(panels[3], "the liveliest pixel", "frame", "count")
