"""Names, keys and Zarr metadata of a run, format 1 (docs/reference/run-format.md)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from forebay.acquisition.errors import RunDamagedError, RunNameError
from forebay.acquisition.format.codec import Compression
from forebay.acquisition.frames import FrameFlag, Geometry, ImageMetadata, check_geometry

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 2 knows notes in the log, and frames in a shard that begin on pages."""
CONTROL = "_forebay"
LOG = f"{CONTROL}/log"
ASIDE = f"{CONTROL}/aside"
QUARANTINE = f"{CONTROL}/quarantine"
JOURNAL = f"{CONTROL}/journal"
LOCK = f"{CONTROL}/writer.lock"
METADATA = "zarr.json"

FRAMES = "frames"
COORDINATES: Mapping[str, np.dtype[Any]] = {
    "timestamp": np.dtype("int64"),
    "frame_id": np.dtype("uint64"),
    "flags": np.dtype("uint32"),
}
"""The one-dimensional arrays that go along ``t`` beside the frames, and their types."""

_NAME_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", flags=re.ASCII)
_MAX_DEPTH = 8


def check_run_name(name: Any) -> str:
    """Return `name` if a run may be called so.

    A name is one or more parts joined by ``/``; a part begins with a letter or a digit and goes
    on with letters, digits, ``.``, ``_`` and ``-``, 100 at the most.  So no name leaves the
    folder that it is joined to.

    Raises
    ------
    RunNameError
        If the name is not of that form.
    """
    text = name if isinstance(name, str) else ""
    parts = text.split("/")
    if len(parts) > _MAX_DEPTH or not all(_NAME_PART.fullmatch(part) for part in parts):
        raise RunNameError(
            f"{name!r} is not a run name: use letters, digits, '.', '_' and '-', beginning each "
            "part with a letter or a digit ('2026-11-21/sample_3'); a run is made inside the "
            "runs folder, which --runs or the setting 'runs' chooses"
        )
    return text


@dataclass(frozen=True, slots=True)
class RunLayout:
    """What every block of a run has in common; it never changes once the run is made."""

    run_id: str
    """Identity of the run, a UUID; its path may change."""
    name: str
    """What the run was called when it was made."""
    created: str
    """When it was made, ISO 8601 in UTC."""
    geometry: Geometry
    """The layout of a frame."""
    frames_per_block: int
    """Frames in a block; the last block of a run may hold fewer."""
    compression: Compression
    """How a frame's bytes are packed."""
    metadata: ImageMetadata
    """What is known of the instrument."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What was done to the frames before they were recorded, as JSON."""
    format_version: int = FORMAT_VERSION
    """The format that the run was made with, and keeps."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of ``frames``."""
        return ("t", *self.geometry.dims)

    def object_key(self, array: str, block: int) -> str:
        """Return the store key under which `array` keeps its part of a block."""
        within = ".0" * len(self.geometry.dims) if array == FRAMES else ""
        return f"{array}/c.{block}{within}"

    def object_keys(self, block: int) -> list[str]:
        """Return the keys of all objects of a block, the frames last."""
        return [self.object_key(array, block) for array in (*COORDINATES, FRAMES)]

    def array_documents(self, frames: int) -> dict[str, dict[str, Any]]:
        """Return the ``zarr.json`` of each array of a run with so many committed frames."""
        documents = {
            name: _array_document(
                shape=(frames,),
                chunk=(self.frames_per_block,),
                dtype=dtype,
                dims=("t",),
                codecs=[_BYTES, _CRC32C],
                attributes=_coordinate_attributes(name, self.format_version),
            )
            for name, dtype in COORDINATES.items()
        }
        documents[FRAMES] = _array_document(
            shape=(frames, *self.geometry.shape),
            chunk=(self.frames_per_block, *self.geometry.shape),
            dtype=self.geometry.dtype,
            dims=self.dims,
            codecs=[
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [1, *self.geometry.shape],
                        "codecs": [
                            _BYTES,
                            *self.compression.zarr_codecs(self.geometry.dtype),
                            _CRC32C,
                        ],
                        "index_codecs": [_BYTES, _CRC32C],
                        "index_location": "end",
                    },
                }
            ],
            attributes={"coordinates": " ".join(COORDINATES)},
        )
        return documents

    def group_document(self, frames: int) -> dict[str, Any]:
        """Return the run's own ``zarr.json``.

        The arrays' metadata stand in it once more, consolidated: one rename shows a reader of the
        group all arrays at the same length.
        """
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": self._ome(), "forebay": self.attributes()},
            "consolidated_metadata": {
                "kind": "inline",
                "must_understand": False,
                "metadata": self.array_documents(frames),
            },
        }

    def attributes(self) -> dict[str, Any]:
        """Return the layout as JSON: the first record of the log, and the group's attributes."""
        return {
            "format_version": self.format_version,
            "run_id": self.run_id,
            "name": self.name,
            "created": self.created,
            "frame_dims": list(self.geometry.dims),
            "frame_shape": list(self.geometry.shape),
            "data_type": self.geometry.dtype.name,
            "frames_per_block": self.frames_per_block,
            "compression": self.compression.name,
            "pixel_size_micrometer": self.metadata.pixel_size and list(self.metadata.pixel_size),
            "exposure_seconds": self.metadata.exposure,
            "frame_rate_hertz": self.metadata.frame_rate,
            "channels": list(self.metadata.channels),
            "instrument": dict(self.metadata.instrument),
            **({"provenance": dict(self.provenance)} if self.provenance else {}),
        }

    def _ome(self) -> dict[str, Any]:
        """Image metadata as OME-Zarr 0.5 has them."""
        rate, pixel = self.metadata.frame_rate, self.metadata.pixel_size
        scales = {
            "t": 1.0 / rate if rate else 1.0,
            "c": 1.0,
            "y": pixel[0] if pixel else 1.0,
            "x": pixel[1] if pixel else 1.0,
        }
        axes: list[dict[str, str]] = []
        for dim in self.dims:
            kind = {"t": "time", "c": "channel"}.get(dim, "space")
            axis = {"name": dim, "type": kind}
            if kind == "time" and rate:
                axis["unit"] = "second"
            if kind == "space" and pixel:
                axis["unit"] = "micrometer"
            axes.append(axis)
        scale = {"type": "scale", "scale": [scales[dim] for dim in self.dims]}
        ome: dict[str, Any] = {
            "version": "0.5",
            "multiscales": [
                {
                    "name": self.name,
                    "axes": axes,
                    "datasets": [{"path": FRAMES, "coordinateTransformations": [scale]}],
                }
            ],
        }
        return ome

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], *, where: str) -> "RunLayout":
        """Read the layout back from what `attributes` gave.

        Raises
        ------
        RunDamagedError
            If they are not those of a run, or of another format than this one.
        """
        try:
            check_version(attributes, where=where)
            geometry = Geometry(
                dims=tuple(attributes["frame_dims"]),
                shape=tuple(attributes["frame_shape"]),
                dtype=np.dtype(attributes["data_type"]),
            )
            pixel = attributes["pixel_size_micrometer"]
            return cls(
                run_id=attributes["run_id"],
                name=attributes["name"],
                created=_checked_moment(attributes["created"]),
                geometry=check_geometry(geometry),
                frames_per_block=attributes["frames_per_block"],
                compression=Compression(attributes["compression"]),
                metadata=ImageMetadata(
                    pixel_size=(pixel[0], pixel[1]) if pixel else None,
                    exposure=attributes["exposure_seconds"],
                    frame_rate=attributes["frame_rate_hertz"],
                    channels=tuple(attributes["channels"]),
                    instrument=attributes["instrument"],
                ),
                provenance=attributes.get("provenance", {}),
                format_version=attributes["format_version"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunDamagedError(f"{where} does not describe a run ({error!r})") from error


def _checked_moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def check_version(attributes: Mapping[str, Any], *, where: str) -> None:
    """Refuse a run of another format than this one.

    Raises
    ------
    RunDamagedError
        If it is of another format.
    KeyError
        If no format is given.
    """
    if attributes["format_version"] not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise RunDamagedError(
            f"{where} belongs to a run of format {attributes['format_version']!r}; this forebay "
            f"reads the formats {known}: install a newer one"
        )


def shown_frames(content: bytes, *, where: str) -> int:
    """Return how many frames the run's ``zarr.json`` shows to readers that know no log.

    Raises
    ------
    RunDamagedError
        If it is not the ``zarr.json`` of a run, or of another format than this one.
    """
    try:
        document = json.loads(content)
        check_version(document["attributes"]["forebay"], where=where)
        return int(document["consolidated_metadata"]["metadata"][FRAMES]["shape"][0])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunDamagedError(
            f"{where} is not the metadata of a run ({error!r}); restore it from a copy"
        ) from error


_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC32C = {"name": "crc32c"}
_FLAGS_OF_VERSION_1 = (FrameFlag.SATURATED, FrameFlag.INCOMPLETE)


def _coordinate_attributes(name: str, version: int) -> dict[str, Any]:
    if name == "timestamp":
        return {
            "units": "nanoseconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "long_name": "time at which the frame was taken",
        }
    if name == "frame_id":
        return {"long_name": "the camera's counter"}
    flags = _FLAGS_OF_VERSION_1 if version == 1 else tuple(FrameFlag)
    return {
        "long_name": "what is unusual about the frame",
        "flag_masks": [int(flag) for flag in flags],
        "flag_meanings": " ".join((flag.name or "").lower() for flag in flags),
    }


def _array_document(
    *,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: np.dtype[Any],
    dims: tuple[str, ...],
    codecs: list[dict[str, Any]],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0 if dtype.kind in "ui" else "NaN",
        "codecs": codecs,
        "dimension_names": list(dims),
        "attributes": dict(attributes),
    }
