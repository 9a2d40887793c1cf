"""forebay carries image frames from a camera to a result, continuously, on Dask and Zarr.

What is public is listed in ``__init__.pyi``; it is imported when it is first used, so that
``import forebay`` costs next to nothing.
"""

from typing import Any

import lazy_loader as _lazy

_load, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("forebay")
    return _load(name)
