"""Frames from a camera, committed block by block to a run, and read back.

What is public is listed in ``__init__.pyi``; it is imported when it is first used: who only reads runs,
as a worker does, needs no recorder.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
