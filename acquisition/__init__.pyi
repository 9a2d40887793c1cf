from .format.record import Block, Dropped, Extent
from .frames import Frame, FrameFlag, FrameSource, Geometry, ImageMetadata
from .run.finding import find_runs
from .run.follow import follow
from .run.reader import Run, open_run
from .run.verify import Problem, Verification, verify_run
from .run.writing.writer import RunWriter
from .service.acquire import acquire
from .service.status import AcquisitionStatus

__all__ = [
    "AcquisitionStatus",
    "Block",
    "Dropped",
    "Extent",
    "Frame",
    "FrameFlag",
    "FrameSource",
    "Geometry",
    "ImageMetadata",
    "Problem",
    "Run",
    "RunWriter",
    "Verification",
    "acquire",
    "find_runs",
    "follow",
    "open_run",
    "verify_run",
]
