"""What was done to the frames of a run, written so that it can be done again."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.grammar import read_step, step_text
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


def same_reduction(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Tell whether two of these documents, or the lack of one, say that the same is done.

    Which versions of programs do it, and where the files of the images lie, is left aside.
    """
    return _essence(first) == _essence(second)


def reduction_text(document: Mapping[str, Any] | None) -> str:
    """Return what is done, in short.

    Raises
    ------
    ReductionError
        If a step is none that is known.
    """
    if document is None or not document["steps"]:
        return "nothing"
    size = " × ".join(map(str, document["input"]["shape"]))
    texts = map(_text_of_step, document["steps"])
    return f"{', '.join(texts)} from {size} {document['input']['dtype']}"


def _text_of_step(step: Mapping[str, Any]) -> str:
    images = ", ".join(each["digest"][:15] for each in step.get("images", {}).values())
    return repr(step_text(read_step(step["parameters"]))) + (f" ({images})" if images else "")


def _essence(document: Mapping[str, Any] | None) -> object:
    if document is None or not document["steps"]:
        return None
    # The one may come from a file and the other not.
    document = json.loads(json.dumps(document))
    return document["input"], document["output"], list(map(_essence_of_step, document["steps"]))


def _essence_of_step(step: Mapping[str, Any]) -> object:
    images = step.get("images", {})
    parameters = {name: each for name, each in step["parameters"].items() if name not in images}
    digests = {name: each["digest"] for name, each in images.items()}
    return parameters, step["operations"], digests
