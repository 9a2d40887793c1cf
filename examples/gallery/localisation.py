"""Localisation: where a particle is, to a small part of a pixel.

python examples/gallery/localisation.py [FOLDER]
"""

from water import DOT, LINE, OTHER, frames, label, picture, show

from forebay import ops

seen = frames(24, rows=slice(60, 140), columns=slice(60, 160))
turned = 255.0 - seen

found = ops.find_particles(turned, diameter=11, minmass=120)
radial = ops.radial_symmetry(turned, found, radius=6)
fitted = ops.gaussian_fit(turned, found, radius=6)

with picture("localisation", 3) as panels:
    show(panels[0], seen[0], "before")
    show(panels[1], seen[0], "found, and by two other ways")
    for table, mark, colour in ((found, "o", DOT), (radial, "+", LINE), (fitted, "x", OTHER)):
        here = table[table["t"] == 0]
        panels[1].plot(here["x"], here["y"], mark, mfc="none", mec=colour, ms=9)
    away = {"radial symmetry": (radial, LINE), "Gaussian fit": (fitted, OTHER)}
    for name, (table, colour) in away.items():
        distance = ((table["x"] - found["x"]) ** 2 + (table["y"] - found["y"]) ** 2) ** 0.5
        panels[2].hist(
            distance.dropna(), bins=25, range=(0, 1), histtype="step", color=colour, label=name
        )
    panels[2].legend(fontsize=7)
    label(panels[2], "how far from the centroid", "pixels", "particles")
