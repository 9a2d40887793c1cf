"""Sources of frames: recordings, cameras, what is sent or handed over, and a simulated camera."""

import lazy_loader

# A recording of one kind needs nothing of the others.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
