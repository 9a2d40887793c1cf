"""Reducing frames on the instrument: a declared chain between the ring and the recorder."""

import lazy_loader

# The settings of a chain are read by every command, and the operations only where there is one.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
