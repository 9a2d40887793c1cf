"""A source from one line of text."""

import os
import threading

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import FrameSource, ImageMetadata
from forebay.acquisition.sources.genicam.grammar import CAMERA, parse_camera
from forebay.acquisition.sources.genicam.source import GenicamSource
from forebay.acquisition.sources.network.grammar import open_network
from forebay.acquisition.sources.replay import ReplaySource
from forebay.acquisition.sources.shared_memory.door import SHARED_MEMORY
from forebay.acquisition.sources.shared_memory.grammar import open_shared_memory
from forebay.acquisition.sources.simulated.grammar import parse_simulation
from forebay.acquisition.sources.simulated.source import SimulatedSource

SIMULATED = "simulated"
"""What a source is called that computes its frames."""
NETWORK = "network"
"""What a source is called to which frames are sent."""


def open_source(
    spec: str | os.PathLike[str],
    *,
    rate: float | None = None,
    frames: int | None = None,
    metadata: ImageMetadata | None = None,
    cancelled: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> FrameSource:
    """Open a recording, a camera, or a simulated camera.

    Parameters
    ----------
    spec
        Path of a recording: a folder of PNG or TIFF files, a PNG, TIFF, HDF5 or ``.npy`` file, or
        a Zarr folder; with ``::`` and the name of an array where there are several, as in
        ``scan.h5::/entry/data``.  Or ``simulated``, and behind a colon the fields of `Scene` and
        ``lost_fraction``, as in ``simulated:emitters=50,seed=3,shape=256x256``.  Or ``camera``,
        and behind a colon the address, id or serial number of a GigE Vision camera and its
        features, as in ``camera:192.168.7.20,ExposureTime=5000``.  Or ``network``, and behind a
        colon the endpoint to which frames are sent, as in ``network:tcp://127.0.0.1:5555``.  Or
        ``shm``, and behind a colon the name under which a program on this machine writes frames
        into shared memory, as in ``shm:camera``.  A recording of such a name is ``./simulated``,
        or a `pathlib.Path`, which always is that of a recording.
    rate
        Frames per second, like a camera that waits for nobody; None for as fast as possible, or
        as the camera is set.
    frames
        Frames to deliver.  A recording begins anew as often as needed, and is replayed once
        where this is None; a simulated camera counts lost exposures among them, and goes on until
        it is stopped where this is None.
    metadata
        What to say of the instrument; it takes precedence over what the source says.
    cancelled
        Ends the wait for a source that is waited for.
    clock
        Source of times.

    Returns
    -------
    FrameSource
        Use it within ``with``.

    Raises
    ------
    SourceError
        If nothing readable is there, or a parameter is unknown, of the wrong type or out of
        range.

    Examples
    --------
    >>> with open_source("simulated:shape=48x64,emitters=5", frames=2) as source:
    ...     [(frame.counter, frame.data.shape) for frame in source.frames()]
    [(0, (48, 64)), (1, (48, 64))]
    """
    if isinstance(spec, os.PathLike):
        return ReplaySource(spec, rate=rate, frames=frames, metadata=metadata, clock=clock)
    if not isinstance(spec, str):
        raise SourceError(
            f"{spec!r} is no source: give a text such as 'simulated:shape=64x64', or the path of a "
            "recording"
        )
    name, separator, parameters = spec.partition(":")
    if name == CAMERA and separator:
        camera_text = parse_camera(parameters)
        return GenicamSource(
            camera_text.camera,
            features=camera_text.features,
            rate=rate,
            frames=frames,
            metadata=metadata,
            clock=clock,
            **camera_text.options,
        )
    if name == NETWORK and separator:
        return open_network(
            parameters,
            rate=rate,
            frames=frames,
            metadata=metadata,
            cancelled=cancelled,
            clock=clock,
        )
    if name == SHARED_MEMORY and separator:
        return open_shared_memory(
            parameters,
            rate=rate,
            frames=frames,
            metadata=metadata,
            cancelled=cancelled,
            clock=clock,
        )
    if name == SIMULATED:
        scene, camera = parse_simulation(parameters)
        return SimulatedSource(
            scene, rate=rate, frames=frames, metadata=metadata, clock=clock, **camera
        )
    return ReplaySource(spec, rate=rate, frames=frames, metadata=metadata, clock=clock)
