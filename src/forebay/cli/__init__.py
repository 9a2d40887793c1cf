"""The command line, ``forebay``."""

import io
import sys


def main() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is shown with escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        from forebay.cli.app import commands

        commands()(prog_name="forebay")
    except KeyboardInterrupt:
        sys.exit(130)
