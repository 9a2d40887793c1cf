"""What is said of the instrument, from several sides."""

import dataclasses

from forebay.acquisition.frames import ImageMetadata


def merged(found: ImageMetadata, given: ImageMetadata | None) -> ImageMetadata:
    """Return what the user says, and what was found where the user says nothing.

    Examples
    --------
    >>> merged(ImageMetadata(exposure=0.1, frame_rate=5.0), ImageMetadata(exposure=0.2)).exposure
    0.2
    """
    if given is None:
        return found
    said = {
        field.name: value
        for field in dataclasses.fields(given)
        if (value := getattr(given, field.name)) not in (None, ())
    }
    said["instrument"] = {**found.instrument, **given.instrument}
    return dataclasses.replace(found, **said)
