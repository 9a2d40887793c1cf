"""A source from one line of text."""

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.frames import FrameSource, ImageMetadata
from forebay.acquisition.sources.replay import ReplaySource
from forebay.acquisition.sources.simulated.grammar import parse_simulation
from forebay.acquisition.sources.simulated.source import SimulatedSource

SIMULATED = "simulated"
"""What a source is called that is no recording."""


def open_source(
    spec: str,
    *,
    rate: float | None = None,
    frames: int | None = None,
    metadata: ImageMetadata | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> FrameSource:
    """Open a recording, or a simulated camera.

    Parameters
    ----------
    spec
        Path of a recording: a folder of PNG or TIFF files, a PNG, TIFF, HDF5 or ``.npy`` file, or
        a Zarr folder; with ``::`` and the name of an array where there are several, as in
        ``scan.h5::/entry/data``.  Or ``simulated``, and behind a colon the fields of `Scene` and
        ``lost_fraction``, as in ``simulated:emitters=50,seed=3,shape=256x256``.  A recording of
        that name is ``./simulated``.
    rate
        Frames per second, like a camera that waits for nobody; None for as fast as possible.
    frames
        Frames to deliver.  A recording begins anew as often as needed, and is replayed once
        where this is None; a simulated camera counts lost exposures among them, and goes on until
        it is stopped where this is None.
    metadata
        What to say of the instrument; it takes precedence over what the source says.
    clock
        Source of times.

    Returns
    -------
    FrameSource
        A `ReplaySource` or a `SimulatedSource`; use it within ``with``.

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
    name, _, parameters = spec.partition(":")
    if name == SIMULATED:
        scene, camera = parse_simulation(parameters)
        return SimulatedSource(
            scene, rate=rate, frames=frames, metadata=metadata, clock=clock, **camera
        )
    return ReplaySource(spec, rate=rate, frames=frames, metadata=metadata, clock=clock)
