"""Tracebacks in what processes have logged."""

import re

TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*.*", re.MULTILINE)
"""One of them, up to its error."""
