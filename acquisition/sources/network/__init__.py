"""Frames over ZeroMQ: a source for detectors that push, and the sender's side for Python."""

from forebay.acquisition.sources.network.sender import FrameSender
from forebay.acquisition.sources.network.source import NetworkSource

__all__ = ["FrameSender", "NetworkSource"]
