"""Reducing frames on the instrument: a declared chain between the ring and the recorder."""

from forebay.acquisition.reduction.chain import ReductionChain, ReductionCounts
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.grammar import parse_step, read_step, step_text
from forebay.acquisition.reduction.overload import OverloadSteps
from forebay.acquisition.reduction.repeating import chain_from, repeat_reduction
from forebay.acquisition.reduction.settings import ReductionSettings
from forebay.acquisition.reduction.steps import Step

__all__ = [
    "OverloadSteps",
    "ReductionChain",
    "ReductionCounts",
    "ReductionError",
    "ReductionSettings",
    "Step",
    "chain_from",
    "parse_step",
    "read_step",
    "repeat_reduction",
    "step_text",
]
