"""What helps to test a source, of forebay's own or another: a clock set by hand, and a check."""

from forebay.acquisition.sources.testing.clock import ManualClock
from forebay.acquisition.sources.testing.conformance import check_source

__all__ = ["ManualClock", "check_source"]
