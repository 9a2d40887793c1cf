"""Reduction: fewer bytes, with a bound on what is lost, told by `measure_reduction`.

python examples/gallery/reduction.py [FOLDER]
"""

from water import frames, picture, show

from forebay import ops

# The spheres are dark: turned over, they are what stands out.
seen = 255 - frames(8)
camera = ops.Companding(gain=5.0, read_noise=2.0)

binned = ops.bin_pixels(seen, factor=2)
coarse = ops.quantise_to_noise(seen, camera, max_error=0.5)
sparse = ops.sparsify(seen, threshold=20, background=100)

with picture("reduction", 4) as panels:
    stored = ops.measure_reduction(seen, seen).stored_in
    show(panels[0], seen[0], f"before: {stored // 1024} KiB stored")
    for axes, name, reduced in (
        (panels[1], "pixels binned", binned),
        (panels[2], "quantised to the noise", coarse),
        (panels[3], "only what stands out", sparse),
    ):
        told = ops.measure_reduction(seen, reduced)
        show(axes, reduced[0], f"{name}: {told.stored_out // 1024} KiB")
