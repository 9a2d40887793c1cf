"""Detection and measurement: which pixels belong to something, to what, and how large that is.

python examples/gallery/detection.py [FOLDER]
"""

import numpy as np
from water import DOT, frames, picture, show

from forebay import ops

frame = frames(1)
turned = 255.0 - frame
flat = ops.difference_of_gaussians(turned, sigma=3)

mask = flat > ops.otsu_threshold(flat)
labels = ops.label(mask)
things = ops.region_properties(labels, flat)
blobs = ops.find_blobs(turned, min_sigma=2, max_sigma=5, threshold=8)

# Neighbouring numbers get colours far from each other.
colours = labels[0].where(labels[0] > 0) * 37 % 101
large = things[things["area"] >= 20]

with picture("detection", 4) as panels:
    show(panels[0], frame[0], "before")
    show(panels[1], mask[0].astype(np.uint8), "above Otsu's threshold")
    show(panels[2], colours, f"labelled: {len(large)} of 20 pixels or more", colours="turbo")
    show(panels[3], frame[0], f"{len(blobs)} blobs")
    panels[3].scatter(
        blobs["x"], blobs["y"], s=12 * blobs["sigma"] ** 2, facecolors="none", edgecolors=DOT
    )
