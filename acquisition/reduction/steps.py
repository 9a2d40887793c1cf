"""What each step of a reduction is told: one frozen model for each, told apart by ``step``."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

NOT_SELECTED = "not selected"
"""With what the reason begins for which a step drops frames."""
MAX_OVERLOAD_STEPS = 8
"""As many as there are flags for."""

type IntegerName = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32"]
"""Integer types that pixels can be given."""


def _pair(value: Any) -> Any:
    """Read ``2`` and ``2x4`` as height and width."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+)(?:[x×](\d+))?", value.strip())):
        value = [int(number) for number in found.groups(default=found[1])]
    return (value, value) if isinstance(value, int) else value


def _range(value: Any) -> Any:
    """Read ``0:512`` as the first pixel and the one behind the last."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+):(\d+)", value.strip())):
        return int(found[1]), int(found[2])
    return value


type Factors = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_pair)]
type Range = Annotated[tuple[NonNegativeInt, NonNegativeInt], BeforeValidator(_range)]


class StepModel(BaseModel):
    """One step: its name and its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    first: ClassVar[tuple[str, ...]] = ()
    """The parameters that a text may give without their names."""
    example: ClassVar[str]
    """The step as a text."""

    def anchored(self, folder: Path) -> Self:
        """Return the step with relative paths beginning at `folder`."""
        return self.model_copy(
            update={
                name: folder / value.expanduser() for name, value in self if isinstance(value, Path)
            }
        )


class BinStep(StepModel):
    """Several pixels become one."""

    first = ("factor",)
    example = "bin:2, or bin:2x4,method=sum"

    step: Literal["bin"] = "bin"
    factor: Factors = Field(description="Height and width of a bin, in pixels.")
    method: Literal["mean", "sum"] = Field(default="mean", description="What a bin is.")
    dtype: IntegerName | None = Field(
        default=None, description="Type of the result; what is beyond its range saturates."
    )


class RegionStep(StepModel):
    """A rectangle of the frames, on its own or with the rest made even."""

    first = ("y", "x")
    example = "region:0:512,256:768"

    step: Literal["region"] = "region"
    y: Range = Field(description="First row, and the one behind the last.")
    x: Range = Field(description="First column, and the one behind the last.")
    mask: bool = Field(
        default=False, description="Keep the shape of the frames, with 'fill' outside."
    )
    fill: float = Field(default=0, description="What stands outside of a mask.")


class BackgroundStep(StepModel):
    """An image is subtracted."""

    first = ("image",)
    example = "background:dark.npy,offset=100"

    step: Literal["background"] = "background"
    image: Path = Field(description="File with the image to subtract.")
    offset: float = Field(
        default=0, description="What is added, so that values below the background are kept."
    )
    dtype: IntegerName | Literal["float"] | None = Field(
        default=None, description="Type of the result, rounded; that of the frames by default."
    )


class FlatFieldStep(StepModel):
    """Uneven light and response are evened out."""

    first = ("image",)
    example = "flat-field:flat.npy,dark=dark.npy"

    step: Literal["flat-field"] = "flat-field"
    image: Path = Field(description="File with the image of an even field.")
    dark: Path | None = Field(default=None, description="File with an image without light.")
    dtype: IntegerName | Literal["float"] | None = Field(
        default=None, description="Type of the result, rounded; that of the frames by default."
    )


class BitDepthStep(StepModel):
    """The lowest bits of a pixel are rounded away; it keeps its type and its unit."""

    first = ("bits",)
    example = "bit-depth:10, or bit-depth:10,of=12"

    step: Literal["bit-depth"] = "bit-depth"
    bits: PositiveInt = Field(description="Bits that are kept.")
    of: PositiveInt | None = Field(
        default=None, description="Bits that the camera gives; those of the type by default."
    )


class SparsifyStep(StepModel):
    """Pixels near the background become the background."""

    first = ("threshold",)
    example = "sparsify:20, or sparsify:20,background=100"

    step: Literal["sparsify"] = "sparsify"
    threshold: PositiveFloat = Field(description="Pixels nearer to the background than this.")
    background: float = Field(default=0, description="What they become.")


class CompandStep(StepModel):
    """Pixels become codes that lie as close as their noise allows."""

    first = ("gain", "read_noise")
    example = "compand:0.46,1.6,offset=100,maximum=4095"

    step: Literal["compand"] = "compand"
    gain: PositiveFloat = Field(description="Electrons for each count of the camera.")
    read_noise: PositiveFloat = Field(description="Noise of a dark pixel, in electrons.")
    offset: float = Field(default=0, ge=0, description="Counts of a pixel without light.")
    spacing: PositiveFloat = Field(
        default=1, description="Distance of codes, in standard deviations of the noise."
    )
    maximum: PositiveInt = Field(
        default=65_535, le=65_535, description="Highest count that the camera gives."
    )
    dtype: Literal["uint8", "uint16"] = Field(default="uint8", description="Type of the codes.")


class SelectStep(StepModel):
    """Some frames are left out; each of them is written down as dropped."""

    example = "select:every=10, select:min-change=5 or select:min-variance=100"

    step: Literal["select"] = "select"
    every: PositiveInt | None = Field(
        default=None, description="Keep the first of every so many frames, as they come."
    )
    min_change: PositiveFloat | None = Field(
        default=None,
        description="Keep a frame whose pixels differ from the last kept one by this in the mean.",
    )
    min_variance: PositiveFloat | None = Field(
        default=None, description="Keep a frame whose pixels have at least this variance."
    )

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        conditions = (self.every, self.min_change, self.min_variance)
        if sum(condition is not None for condition in conditions) != 1:
            raise ValueError("it needs one of every, min_change and min_variance")
        return self


type Step = Annotated[
    BinStep
    | RegionStep
    | BackgroundStep
    | FlatFieldStep
    | BitDepthStep
    | SparsifyStep
    | CompandStep
    | SelectStep,
    Field(discriminator="step"),
]

STEPS: dict[str, type[StepModel]] = {
    model.model_fields["step"].default: model
    for model in (
        BinStep,
        RegionStep,
        BackgroundStep,
        FlatFieldStep,
        BitDepthStep,
        SparsifyStep,
        CompandStep,
        SelectStep,
    )
}
"""The steps that there are, by their names."""
