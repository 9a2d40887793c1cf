"""Whether the frames of a source belong into a run that was begun with another writer."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from forebay.acquisition.errors import FrameError
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import Noted
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.settings import AcquisitionSettings

_log = logging.getLogger("forebay.acquisition")
_TOPIC = "source"


def check_continues(
    run: WritableRun,
    recorded: Geometry,
    provenance: Mapping[str, Any],
    channels: tuple[str, ...],
) -> None:
    """Refuse frames that are other than those of a run that has begun.

    Parameters
    ----------
    run
        The run.
    recorded
        Layout of the frames to come, as they would be recorded.
    provenance
        What would be done to them before, as JSON.  Reductions for times of overload may be left
        out.
    channels
        Names of their channels.

    Raises
    ------
    FrameError
        If they have another layout or other channels, or are reduced in another way than the run
        says.
    """
    before, known, where = run.layout.provenance, run.layout.geometry, run.storage.where
    _check_reduction(where, "are reduced", before, provenance, "reduction")
    if "overload_reduction" in provenance:
        what = "are reduced in times of overload"
        _check_reduction(where, what, before, provenance, "overload_reduction")
    if channels != run.layout.metadata.channels:
        raise FrameError(
            f"the source has {_channels(channels)}, and {where} holds "
            f"{_channels(run.layout.metadata.channels)}: give the same cameras in the same order "
            "(--with), with their names (--channels), or start another run"
        )
    if recorded != known:
        raise FrameError(
            f"the source delivers frames of {recorded.shape} {recorded.dtype}, and {where} holds "
            f"{known.shape} {known.dtype}: start another run for them"
        )


def note_source(run: WritableRun, notes: Sequence[Noted], now: ImageMetadata) -> str | None:
    """Note in a run in what its source is another one than before.

    Parameters
    ----------
    run
        The run.
    notes
        Those that are there.
    now
        What the source says of itself.

    Returns
    -------
    str or None
        What it says otherwise than the run, or again like it; None where nothing is to be noted.
    """
    before = run.layout.metadata
    changed = [
        text
        for field in fields(ImageMetadata)
        for text in _differences(field.name, getattr(before, field.name), getattr(now, field.name))
    ]
    told = [each.text for each in notes if each.topic == _TOPIC]
    if changed:
        text = f"from here on the source says what the run does not: {', '.join(changed)}"
    elif told:
        text = "from here on the source says again what the run does"
    else:
        return None
    if text in told[-1:]:
        return None
    run.note(_TOPIC, text)
    return text


def tell_kept(run: RunLayout, settings: AcquisitionSettings) -> None:
    """Tell what stays as it was, though it is set otherwise."""
    if settings.frames_per_block not in {None, run.frames_per_block}:
        _log.warning("a block has %d frames, as before", run.frames_per_block)
    if settings.compression != run.compression.name:
        _log.warning("the frames are packed by %s, as before", run.compression.name)


def _channels(names: tuple[str, ...]) -> str:
    return f"the channels {', '.join(names)}" if names else "no named channels"


def _check_reduction(
    where: str, what: str, before: Mapping[str, Any], now: Mapping[str, Any], key: str
) -> None:
    if key not in before and key not in now:
        return
    # The operations are only loaded where there are some.
    from forebay.acquisition.reduction.provenance import reduction_text, same_reduction

    if not same_reduction(before.get(key), now.get(key)):
        raise FrameError(
            f"the frames of {where} {what} by {reduction_text(before.get(key))}, as it says, and "
            f"those to come would be by {reduction_text(now.get(key))}: give the same steps, or "
            "start another run"
        )


def _differences(name: str, before: object, now: object) -> Iterator[str]:
    """Yield what has become of the parts of something that are not as they were."""
    before, now = (json.loads(json.dumps(each, default=str)) for each in (before, now))
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _differences(f"{name} {key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{name} {json.dumps(now)} and not {json.dumps(before)}"
