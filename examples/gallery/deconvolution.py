"""Deconvolution: a blur that is known is taken back as far as noise allows.

python examples/gallery/deconvolution.py [FOLDER]
"""

from water import frames, picture, show

from forebay import ops

# The spheres are dark: turned over, they are what sends the light.
sharp = 255.0 - frames(1)[0].astype("float32")
blur = ops.airy_psf(wavelength=0.55, numerical_aperture=0.45, pixel_size=0.35)
seen = ops.wiener(sharp, psf=blur, noise_to_signal=1e-2)

fast = ops.richardson_lucy(sharp, psf=blur, iterations=20)
flat = ops.richardson_lucy(sharp, psf=blur, iterations=20, regularisation=0.01)

with picture("deconvolution", 4) as panels:
    show(panels[0], sharp, "before")
    show(panels[1], seen, "Wiener")
    show(panels[2], fast, "Richardson–Lucy")
    show(panels[3], flat, "with total variation")
