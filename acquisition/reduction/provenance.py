"""What was done to the frames of a run, written so that it can be done again."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.images import digest
from forebay.acquisition.reduction.operations.operation import PixelOperation

if TYPE_CHECKING:
    from forebay.acquisition.reduction.fitting import FittedStep


def provenance(
    fitted: "Sequence[FittedStep]", given: Geometry, geometry: Geometry
) -> dict[str, Any]:
    """Return as JSON what steps do.

    Parameters
    ----------
    fitted
        The steps.
    given
        Layout of the frames that come.
    geometry
        Layout of the frames that go on.
    """
    return {
        "forebay": version("forebay"),
        "numpy": np.__version__,
        "input": geometry_json(given),
        "output": geometry_json(geometry),
        "steps": [_step_json(step) for step in fitted],
    }


def geometry_json(geometry: Geometry) -> dict[str, Any]:
    """Return a layout as JSON."""
    return {
        "dims": list(geometry.dims),
        "shape": list(geometry.shape),
        "dtype": geometry.dtype.name,
    }


def _step_json(fitted: "FittedStep") -> dict[str, Any]:
    document: dict[str, Any] = {
        "parameters": fitted.step.model_dump(mode="json"),
        "operations": [f"forebay.ops.{name}" for name in fitted.operations],
    }
    if isinstance(fitted, PixelOperation):
        document["error_bound"] = fitted.bound.as_json()
        document["images"] = {
            name: {"path": str(Path(getattr(fitted.step, name))), "digest": digest(image)}
            for name, image in fitted.images.items()
        }
    return document
