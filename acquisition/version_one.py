"""The number of a protocol that has had one version."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def _number(value: Any) -> Any:
    # True and 1.0 are equal to 1.
    if type(value) is not int:
        raise PydanticCustomError("literal_error", "Input should be 1")
    return value


type VersionOne = Annotated[Literal[1], BeforeValidator(_number)]
"""The number 1, and nothing that is equal to it."""
