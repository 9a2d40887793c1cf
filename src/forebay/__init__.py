"""forebay carries image frames from a camera to a result, continuously, on Dask and Zarr.

What is public is here; it is imported when it is first used, so that ``import forebay`` costs
next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay.acquisition import (
        AcquisitionStatus,
        Block,
        Dropped,
        Extent,
        Frame,
        FrameFlag,
        FrameSource,
        Geometry,
        ImageMetadata,
        Run,
        RunWriter,
        acquire,
        follow,
        verify_run,
    )
    from forebay.acquisition.sources import open_source
    from forebay.engine import (
        Algorithm,
        Blockwise,
        Result,
        WholeRun,
        algorithm,
        open_result,
        process,
    )
    from forebay.errors import ExitCode, ForebayError
    from forebay.opening import open_run

_WHERE = {
    "forebay.acquisition": (
        "AcquisitionStatus",
        "Block",
        "Dropped",
        "Extent",
        "Frame",
        "FrameFlag",
        "FrameSource",
        "Geometry",
        "ImageMetadata",
        "Run",
        "RunWriter",
        "acquire",
        "follow",
        "verify_run",
    ),
    "forebay.acquisition.sources": ("open_source",),
    "forebay.engine": (
        "Algorithm",
        "Blockwise",
        "Result",
        "WholeRun",
        "algorithm",
        "open_result",
        "process",
    ),
    "forebay.errors": ("ExitCode", "ForebayError"),
    "forebay.opening": ("open_run",),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [  # noqa: PLE0604, RUF022 (the names are those of the table above)
    "__version__",
    *sorted(_MODULE_OF),
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("forebay")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'forebay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
