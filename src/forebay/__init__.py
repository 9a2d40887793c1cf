"""forebay carries image frames from a camera to a result, continuously, on Dask and Zarr.

What is public is listed in ``__init__.pyi``; it is imported when it is first used, so that
``import forebay`` costs next to nothing.
"""

from importlib.metadata import version as _version
from typing import Any

import lazy_loader as _lazy

_load, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version("forebay")
    return _load(name)
