"""Cameras that speak GigE Vision, through the library Aravis."""

from forebay.acquisition.sources.genicam.discovery import FoundCamera, cameras
from forebay.acquisition.sources.genicam.source import GenicamSource

__all__ = ["FoundCamera", "GenicamSource", "cameras"]
