"""A command that is asked where it stands tells so, and goes on."""

import signal
import subprocess
import sys

SECONDS = 120
BUSY = """
import subprocess, threading
from forebay.cli.signals import stop_on_signals

def descend(depth):
    return depth and descend(depth - 1)

def begin_and_end():
    while not stop.is_set():
        threads = [threading.Thread(target=descend, args=(900,)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

with stop_on_signals("nothing") as stop:
    busy = [threading.Thread(target=begin_and_end) for _ in range(4)]
    for each in busy:
        each.start()
    # The main thread waits, and others run while it is asked.
    asking = subprocess.Popen(["sh", "-c", "for i in $(seq 300); do kill -USR1 $PPID; done"])
    asking.wait()
    stop.set()
    for each in busy:
        each.join()
"""
HANGING = """
import ctypes
from forebay.cli.signals import stop_on_signals

with stop_on_signals("nothing"):
    print("hangs", flush=True)
    print(ctypes.CDLL(None).read(0, bytes(1), 1), flush=True)
"""


def test_threads_that_begin_and_end_meanwhile_do_no_harm() -> None:
    """However often it is asked."""
    words = [sys.executable, "-c", BUSY]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "\nThread MainThread (most recent call first):\n" in done.stderr


def test_one_that_hangs_in_a_call_of_the_system_tells_where() -> None:
    """And hangs on: the call is not interrupted."""
    with subprocess.Popen(
        [sys.executable, "-c", HANGING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGUSR1)
        assert any("Thread MainThread" in line for line in process.stderr)
        out, _ = process.communicate("x", timeout=SECONDS)
    assert (process.returncode, out) == (0, "1\n")
