"""Frames from a camera, committed block by block to a run, and read back."""

from forebay.acquisition.format.record import Block, Dropped, Extent
from forebay.acquisition.frames import Frame, FrameFlag, FrameSource, Geometry, ImageMetadata
from forebay.acquisition.run.follow import follow
from forebay.acquisition.run.reader import Run, open_run
from forebay.acquisition.run.verify import Problem, Verification, verify_run
from forebay.acquisition.run.writing.writer import RunWriter
from forebay.acquisition.service.acquire import acquire
from forebay.acquisition.service.status import AcquisitionStatus

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
    "follow",
    "open_run",
    "verify_run",
]
