"""What is logged, on stderr, with its fields."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO


def log_to_stderr(*, verbose: bool) -> None:
    """Show warnings, and with `verbose` also what is being done."""
    handler = _StderrHandler()
    handler.setFormatter(_LazyFormatter(verbose=verbose))
    root = logging.getLogger()
    for each in root.handlers[:]:
        if isinstance(each, _StderrHandler):
            root.removeHandler(each)
    root.addHandler(handler)
    logging.getLogger("forebay").setLevel(logging.INFO if verbose else logging.WARNING)


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever stderr is at the time, so that a progress bar stays below the lines."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


class _LazyFormatter(logging.Formatter):
    """Leaves the formatting to structlog, which is imported for the first line only."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose
        self._renderer: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._renderer is None:
            self._renderer = _structured(verbose=self._verbose)
        return self._renderer.format(record)


def _without_traceback(
    _: object, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Reduce an exception that a library has logged, as Dask does for lost connections."""
    record: logging.LogRecord = event["_record"]
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not record.name.startswith("forebay"):
        event.pop("exc_info", None)
        told = str(error).partition("\n")[0]
        event["error"] = f"{type(error).__name__}: {told}" if told else type(error).__name__
        event["event"] = event["event"] or f"{record.name} failed"
    return event


def _structured(*, verbose: bool) -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if verbose else [_without_traceback]),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The usual one shows the values of variables, parameters and passwords too.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
    )
