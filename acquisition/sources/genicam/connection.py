"""A connection to a camera, from taking control of it until it is given up or lost."""

import contextlib
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata, check_geometry
from forebay.acquisition.sources.genicam.clock import CameraClock
from forebay.acquisition.sources.genicam.device import Device
from forebay.acquisition.sources.genicam.discovery import address_of
from forebay.acquisition.sources.genicam.identity import Identity, describe, read_identity
from forebay.acquisition.sources.genicam.library import AravisError
from forebay.acquisition.sources.genicam.pixels import ImageReader, PixelFormat, pixel_format
from forebay.acquisition.sources.genicam.settings import (
    Settings,
    read_settings,
    restore_settings,
    set_frame_rate,
)
from forebay.acquisition.sources.genicam.stream import BlockStream, Layout, Reception


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of a camera."""

    camera: str
    """Its address, its id or its serial number."""
    features: Mapping[str, str] = field(default_factory=dict)
    """What to set, in this order."""
    rate: float | None = None
    """Frames per second; None to leave it as it is."""
    buffer_bytes: int
    """Size of all buffers together."""


class Connection:
    """A camera that is ready to send its images.

    Parameters
    ----------
    request
        What is wanted of it.
    clock
        Source of times.
    former
        The connection that was lost: it has to be the same camera, and is set to what it was set
        to then.

    Raises
    ------
    AravisError
        If the camera is not reached, or does not do what it is told to.
    SourceError
        If it cannot be set so, its images cannot be read, or it is not the former one.
    """

    def __init__(
        self, request: Request, *, clock: Clock, former: "Connection | None" = None
    ) -> None:
        self._closing = threading.Lock()
        with ExitStack() as opened:
            address = address_of(request.camera)
            self._device = Device(address)
            opened.callback(self._device.close)
            # It may still send to whoever had it before, and cannot be set while it does.
            _stop_sending(self._device)
            features = self._device.features
            self.identity: Identity = read_identity(features)
            """Which camera it is."""
            if former is not None and former.identity.serial != self.identity.serial:
                raise SourceError(
                    f"another camera is there now, with the serial number {self.identity.serial} "
                    f"instead of {former.identity.serial}; start another run for it"
                )
            _configure(self._device, request, None if former is None else former.settings)
            self.settings: Settings = read_settings(features)
            """What it is set to."""
            self.pixel_format: PixelFormat = _pixel_format(self._device)
            """How its pixels come."""
            self.layout: Layout = _layout(self._device, self.pixel_format)
            """How its images come."""
            self.reader = ImageReader(self.pixel_format, self.layout.height, self.layout.width)
            """What makes them into frames."""
            reading = self._device.read_clocks(clock)
            self.clock = CameraClock(None if reading is None else reading.offset)
            """Its clock as UTC."""
            self.metadata: ImageMetadata = describe(
                features,
                self.identity,
                self.pixel_format,
                address=address,
                clock_uncertainty=None if reading is None else reading.uncertainty / 1e9,
            )
            """What is known of it."""
            self.stream = BlockStream(
                self._device.pointer,
                block_bytes=max(self.reader.image_bytes, int(features.read("PayloadSize"))),
                buffer_bytes=request.buffer_bytes,
            )
            """Where its images come in, until the connection is closed."""
            self._last_reception: Reception | None = None
            opened.pop_all()

    @property
    def geometry(self) -> Geometry:
        """The layout of its frames."""
        return check_geometry(Geometry(("y", "x"), self.reader.shape, self.reader.dtype))

    @property
    def is_alive(self) -> bool:
        """Whether this program still has control of the camera."""
        return self._last_reception is None and self._device.is_controlled

    @property
    def reception(self) -> Reception:
        """How its images came in until now."""
        return self._last_reception or self.stream.reception

    def start(self) -> None:
        """Let the camera send.

        Raises
        ------
        AravisError
            If it does not answer.
        """
        self._device.features.execute("AcquisitionStart")

    def close(self, *, answers: bool = True) -> None:
        """Give the camera up; may be called twice.

        Parameters
        ----------
        answers
            Whether the camera is believed to answer.  It takes up to 10 s where it does not, and
            less where that is known.
        """
        with self._closing:
            if self._last_reception is not None:
                return
            if answers and self._device.is_controlled:
                _stop_sending(self._device)
            self._last_reception = self.stream.reception
            self.stream.close()
            self._device.close()


def _stop_sending(device: Device) -> None:
    """Tell a camera to stop, which one that does not send may refuse."""
    with contextlib.suppress(AravisError):
        device.features.execute("AcquisitionStop")


def _configure(device: Device, request: Request, former: Settings | None) -> None:
    features = device.features
    if "AcquisitionMode" in features and "AcquisitionMode" not in request.features:
        features.write_text("AcquisitionMode", "Continuous")
    if request.rate is not None:
        set_frame_rate(features, request.rate)
    for name, text in request.features.items():
        features.write_text(name, text)
    if former is not None:
        restore_settings(features, former)


def _pixel_format(device: Device) -> PixelFormat:
    name = str(device.features.read("PixelFormat"))
    return pixel_format(device.features.read_code("PixelFormat"), name)


def _layout(device: Device, form: PixelFormat) -> Layout:
    height, width = (int(device.features.read(name)) for name in ("Height", "Width"))
    return Layout(height, width, form.code)
