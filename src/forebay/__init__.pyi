from .acquisition import (
    AcquisitionStatus,
    Block,
    Dropped,
    Extent,
    Frame,
    FrameFlag,
    FrameSource,
    Geometry,
    ImageMetadata,
    Problem,
    Run,
    RunWriter,
    Verification,
    acquire,
    follow,
)
from .acquisition.sources import open_source
from .engine import (
    Algorithm,
    Blockwise,
    Result,
    WholeRun,
    algorithm,
    open_result,
    process,
)
from .errors import ExitCode, ForebayError
from .opening import open_run

__version__: str

__all__ = [
    "AcquisitionStatus",
    "Algorithm",
    "Block",
    "Blockwise",
    "Dropped",
    "ExitCode",
    "Extent",
    "ForebayError",
    "Frame",
    "FrameFlag",
    "FrameSource",
    "Geometry",
    "ImageMetadata",
    "Problem",
    "Result",
    "Run",
    "RunWriter",
    "Verification",
    "WholeRun",
    "__version__",
    "acquire",
    "algorithm",
    "follow",
    "open_result",
    "open_run",
    "open_source",
    "process",
]
