"""Algorithms, and what carries them out: planning, execution, ledger, results."""

from forebay.engine.algorithm import Algorithm, Blockwise, Sequential, WholeRun
from forebay.engine.declare import algorithm
from forebay.engine.execution.process import process
from forebay.engine.execution.reprocess import Report, reprocess
from forebay.engine.execution.reproduce import reproduce
from forebay.engine.execution.submit import SubmittedJob, submit
from forebay.engine.registry import REGISTRY
from forebay.engine.results.result import Result, open_result

__all__ = [
    "REGISTRY",
    "Algorithm",
    "Blockwise",
    "Report",
    "Result",
    "Sequential",
    "SubmittedJob",
    "WholeRun",
    "algorithm",
    "open_result",
    "process",
    "reprocess",
    "reproduce",
    "submit",
]
