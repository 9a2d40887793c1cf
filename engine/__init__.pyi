from .declare import algorithm
from .definition import Algorithm, Blockwise, Sequential, WholeRun
from .execution.process import process
from .execution.recalls import RecallAgreement
from .execution.reprocess import Report, reprocess
from .execution.reproduce import reproduce
from .execution.submit import SubmittedJob, submit
from .registry import REGISTRY
from .results.finding import find_results
from .results.result import Result, open_result

__all__ = [
    "REGISTRY",
    "Algorithm",
    "Blockwise",
    "RecallAgreement",
    "Report",
    "Result",
    "Sequential",
    "SubmittedJob",
    "WholeRun",
    "algorithm",
    "find_results",
    "open_result",
    "process",
    "reprocess",
    "reproduce",
    "submit",
]
