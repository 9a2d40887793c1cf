"""How frames are reduced, as it stands in the configuration."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from forebay.acquisition.reduction.grammar import read_step
from forebay.acquisition.reduction.steps import MAX_OVERLOAD_STEPS, Step

type GivenStep = Annotated[Step, BeforeValidator(read_step)]
"""A step, as a text or as a table."""


class ReductionSettings(BaseModel):
    """How frames are reduced between the ring and the recorder.

    Examples
    --------
    >>> settings = ReductionSettings(steps=["bin:2", {"step": "bit-depth", "bits": 10}])
    >>> [step.step for step in settings.steps]
    ['bin', 'bit-depth']
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[GivenStep, ...] = Field(
        default=(), description="What is done to each frame, in this order."
    )
    overload_steps: tuple[GivenStep, ...] = Field(
        default=(),
        max_length=MAX_OVERLOAD_STEPS,
        description="What is done besides, one after the other, when the disk is too slow.",
    )
    keep_raw_every: PositiveInt | None = Field(
        default=None, description="Record every so many frames as they came into a run NAME.raw."
    )
