"""Filters: the same frame with one band of sizes, without noise, and without its background.

python examples/gallery/filters.py [FOLDER]
"""

from water import frames, picture, show

from forebay import ops

frame = frames(1)[0]

band = ops.bandpass(frame, noise_sigma=1, background_sigma=6)
smooth = ops.nonlocal_means(frame, strength=2.5, patch_size=5, search_size=11)
# The spheres are dark: turned over, they stand on their background.
turned = 255.0 - frame
flat = turned - ops.rolling_ball(turned, radius=12, precision="fast")

with picture("filters", 4) as panels:
    show(panels[0], frame, "before")
    show(panels[1], band, "band-pass")
    show(panels[2], smooth, "non-local means")
    show(panels[3], flat, "turned, less a rolling ball")
