"""Steps fitted to the frames that come to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.grammar import step_text
from forebay.acquisition.reduction.images import Image, load_image
from forebay.acquisition.reduction.operations.binning import Binning
from forebay.acquisition.reduction.operations.bits import BitDepth
from forebay.acquisition.reduction.operations.companding import CompandingToCodes
from forebay.acquisition.reduction.operations.correction import (
    Background,
    FlatField,
    working_dtype,
)
from forebay.acquisition.reduction.operations.operation import PixelOperation
from forebay.acquisition.reduction.operations.region import Cropping, Masking
from forebay.acquisition.reduction.operations.sparse import Sparsifying
from forebay.acquisition.reduction.selection import Selection, selection
from forebay.acquisition.reduction.steps import (
    BackgroundStep,
    BinStep,
    BitDepthStep,
    CompandStep,
    FlatFieldStep,
    RegionStep,
    SelectStep,
    SparsifyStep,
    Step,
)
from forebay.ops import OperationError

type FittedStep = PixelOperation | Selection


def fit_all(
    steps: Sequence[Step], geometry: Geometry, images: Mapping[Path, Image]
) -> list[FittedStep]:
    """Fit each step to what the one before gives.

    Raises
    ------
    ReductionError
        If a step does not fit; its number and its text are named.
    SourceError
        If an image cannot be read.
    """
    fitted: list[FittedStep] = []
    codes = False
    for number, step in enumerate(steps, 1):
        where = f"step {number}, {step_text(step)}"
        try:
            latest = fit(step, geometry, images)
        except (OperationError, ReductionError) as error:
            raise ReductionError(f"{where}: {error}") from error
        except SourceError as error:
            raise SourceError(f"{where}: {error}") from error
        if codes and not _takes_codes(latest):
            raise ReductionError(
                f"{where}: it would compute with the codes of a compand step, which are no counts; "
                "put it before that step"
            )
        codes = codes or (isinstance(latest, PixelOperation) and latest.makes_codes)
        geometry = latest.geometry
        fitted.append(latest)
    return fitted


def fit(step: Step, geometry: Geometry, images: Mapping[Path, Image]) -> FittedStep:
    """Fit one step to the frames that come to it.

    Raises
    ------
    ReductionError, OperationError
        If it does not fit them.
    SourceError
        If an image cannot be read.
    """

    def image(path: Path) -> Image:
        return load_image(path, geometry, working_dtype(geometry), images)

    match step:
        case BinStep():
            return Binning(step, geometry)
        case RegionStep(mask=True):
            return Masking(step, geometry)
        case RegionStep():
            return Cropping(step, geometry)
        case BackgroundStep():
            return Background(step, geometry, image(step.image))
        case FlatFieldStep():
            dark = None if step.dark is None else image(step.dark)
            return FlatField(step, geometry, image(step.image), dark)
        case BitDepthStep():
            return BitDepth(step, geometry)
        case SparsifyStep():
            return Sparsifying(step, geometry)
        case CompandStep():
            return CompandingToCodes(step, geometry)
        case SelectStep():
            return selection(step, geometry)


def _takes_codes(fitted: FittedStep) -> bool:
    if isinstance(fitted, PixelOperation):
        return fitted.moves_only
    return not fitted.looks_at_pixels
