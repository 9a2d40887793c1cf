"""The command line, ``forebay``."""

import io
import signal
import sys


def main() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is shown with escapes.
            stream.reconfigure(errors="backslashreplace")
    # What does not end in an order of its own is ended as by Ctrl-C: cleaned up, and with its code.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        from forebay.cli.app import commands

        commands()(prog_name="forebay")
    except KeyboardInterrupt:
        sys.exit(130)
