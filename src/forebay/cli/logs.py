"""What is logged, on stderr, with its fields."""

import logging
import sys
from typing import TextIO


def log_to_stderr(*, verbose: bool) -> None:
    """Show warnings, and with `verbose` also what is being done."""
    handler = _StderrHandler()
    handler.setFormatter(_LazyFormatter())
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

    _renderer: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._renderer is None:
            self._renderer = _structured()
        return self._renderer.format(record)


def _structured() -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
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
