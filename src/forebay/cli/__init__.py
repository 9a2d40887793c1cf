"""The command line, ``forebay``."""

import sys


def main() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    try:
        from forebay.cli.app import app

        app(prog_name="forebay")
    except KeyboardInterrupt:
        sys.exit(130)
