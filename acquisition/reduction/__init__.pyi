"""Reducing frames on the instrument: a declared chain between the ring and the recorder."""

from .chain import ReductionChain, ReductionCounts
from .errors import ReductionError
from .grammar import parse_step, read_step, step_text
from .overload import OverloadSteps
from .repeating import chain_from, repeat_reduction
from .settings import ReductionSettings
from .steps import Step

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
