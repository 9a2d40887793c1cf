"""The GenICam features of a camera: its settings, by name."""

import ctypes
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.library import AravisError, library
from forebay.acquisition.sources.messages import shown

type Value = bool | int | float | str

_ANSWERS: Final = {"true": True, "1": True, "false": False, "0": False}
_READ_ONLY = 0
_WRITABLE = 2


class _Kind(NamedTuple):
    """A kind of feature: what Aravis calls it, and the name in its functions."""

    name: str
    accessor: str


# In this order, for an enumeration can be read as a number, too.
_KINDS: Final = (
    _Kind("enumeration", "string"),
    _Kind("boolean", "boolean"),
    _Kind("integer", "integer"),
    _Kind("float", "float"),
    _Kind("string", "string"),
)
_NUMBERS: Final[Mapping[str, tuple[type, str]]] = {
    "integer": (ctypes.c_int64, "a whole number"),
    "float": (ctypes.c_double, "a number"),
}


class Features:
    """Reads and writes the features of an open camera.

    Parameters
    ----------
    device
        The ``ArvDevice``, which stays open as long as this is used.
    name
        What the camera is called in messages.
    """

    def __init__(self, device: int, name: str) -> None:
        self._device = device
        self._name = shown(name)
        self._library = library()

    def __contains__(self, feature: str) -> bool:
        """Tell whether the camera has a feature that can be read or written now."""
        if self._node(feature) is None:
            return False
        available = self._library.arv_device_is_feature_available
        return bool(self._library.checked(available, self._device, feature.encode()))

    @property
    def description(self) -> str:
        """What the camera says of all its features, in XML."""
        size = ctypes.c_size_t()
        text = self._library.arv_device_get_genicam_xml(self._device, ctypes.byref(size))
        return ctypes.string_at(text, size.value).decode(errors="replace") if text else ""

    def first(self, *features: str) -> str | None:
        """Return the first of several features that the camera has; None if it has none."""
        return next((feature for feature in features if feature in self), None)

    def is_writable(self, feature: str) -> bool:
        """Tell whether a feature that the camera has can be read and written."""
        mode = self._library.arv_gc_feature_node_get_actual_access_mode
        return bool(mode(self._node(feature)) == _WRITABLE and self._kind(feature) is not None)

    def read(self, feature: str) -> Value:
        """Return the value of a feature: text where it is one of several choices.

        Raises
        ------
        AravisError
            If the camera does not have it, or does not answer.
        """
        kind = self._known(feature)
        value = self._call(f"arv_device_get_{kind.accessor}_feature_value", feature)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return bool(value) if kind.name == "boolean" else value

    def read_code(self, feature: str) -> int:
        """Return the number of the choice that is made.

        Raises
        ------
        AravisError
            If the camera does not have it, or does not answer.
        """
        return int(self._call("arv_device_get_integer_feature_value", feature))

    def write(self, feature: str, value: Value) -> None:
        """Set a feature.

        Raises
        ------
        AravisError
            If the camera refuses it, or does not answer.
        """
        kind = self._known(feature)
        given = value.encode() if isinstance(value, str) else value
        self._call(f"arv_device_set_{kind.accessor}_feature_value", feature, given)

    def execute(self, command: str) -> None:
        """Make the camera do something.

        Raises
        ------
        AravisError
            If it refuses, or does not answer.
        """
        self._call("arv_device_execute_command", command)

    def write_text(self, feature: str, text: str) -> None:
        """Set a feature to what a text says, read as the feature's kind wants it.

        Raises
        ------
        SourceError
            If the camera has no such feature, or it cannot be that.
        AravisError
            If the camera does not answer.
        """
        if feature not in self:
            raise self._unknown(feature)
        kind = self._kind(feature)
        mode = self._library.arv_gc_feature_node_get_actual_access_mode(self._node(feature))
        if kind is None or mode == _READ_ONLY:
            what = "is a command or a group" if kind is None else "can only be read"
            raise SourceError(
                f"{shown(feature)} of the camera {self._name} {what}; leave it out, or release "
                "what locks it with the features before it"
            )
        value = self._parsed(feature, kind, text)
        self.write(feature, value)
        if kind.name in {"integer", "boolean", "enumeration"} and self.read(feature) != value:
            raise SourceError(
                f"the camera {self._name} has made {feature}={shown(text)} "
                f"{shown(self.read(feature))}; give a value that it can have"
            )

    def _parsed(self, feature: str, kind: _Kind, text: str) -> Value:
        match kind.name:
            case "boolean":
                if text.casefold() not in _ANSWERS:
                    raise self._wrong(feature, text, "true or false")
                return _ANSWERS[text.casefold()]
            case "enumeration":
                choices = self._choices(feature)
                if text not in choices:
                    raise self._wrong(feature, text, f"one of {', '.join(choices)}")
                return text
            case "integer" | "float":
                return self._number(feature, kind.name, text)
            case _:
                return text

    def _number(self, feature: str, kind: str, text: str) -> Value:
        form, wish = _NUMBERS[kind]
        low, high = form(), form()
        bounds = f"arv_device_get_{kind}_feature_bounds"
        self._call(bounds, feature, ctypes.byref(low), ctypes.byref(high))
        try:
            value = int(text, 0) if kind == "integer" else float(text)
        except ValueError:
            value = math.nan
        if not low.value <= value <= high.value:
            raise self._wrong(feature, text, f"{wish} from {low.value:g} to {high.value:g}")
        return value

    def _choices(self, feature: str) -> list[str]:
        count = ctypes.c_uint()
        function = "arv_device_dup_available_enumeration_feature_values_as_strings"
        texts = self._call(function, feature, ctypes.byref(count))
        try:
            return [texts[index].decode(errors="replace") for index in range(count.value)]
        finally:
            self._library.g_free(texts)

    def _wrong(self, feature: str, text: str, wish: str) -> SourceError:
        return SourceError(
            f"{feature} of the camera {self._name} cannot be {shown(repr(text))}; give {wish}"
        )

    def _unknown(self, feature: str) -> SourceError:
        known = set(re.findall(r'\bName="(\w+)"', self.description, re.ASCII))
        near = [name for name in difflib.get_close_matches(feature, known, n=8) if name in self]
        folded = [name for name in known if name.casefold() == feature.casefold()]
        choices = [name for name in folded if name in self] or near
        hint = f"did you mean {choices[0]}?" if choices else "its manual lists them"
        return SourceError(
            f"the camera {self._name} has no feature {shown(repr(feature))} now; {hint}"
        )

    def _known(self, feature: str) -> _Kind:
        kind = self._kind(feature)
        if kind is None:
            raise AravisError(f"there is no feature {feature} that has a value")
        return kind

    def _kind(self, feature: str) -> _Kind | None:
        node = self._node(feature)
        for kind in _KINDS if node is not None else ():
            of_kind = getattr(self._library, f"arv_gc_{kind.name}_get_type")()
            if self._library.g_type_check_instance_is_a(node, of_kind):
                return kind
        return None

    def _node(self, feature: str) -> int | None:
        """Return the node of a feature; None for one that is no feature, or not there."""
        node: int | None = self._library.arv_device_get_feature(self._device, feature.encode())
        feature_type = self._library.arv_gc_feature_node_get_type()
        if node is None or not self._library.g_type_check_instance_is_a(node, feature_type):
            return None
        return node

    def _call(self, function: str, feature: str, *arguments: Any) -> Any:
        """Call a function on a feature; what goes wrong names the feature."""
        bound = getattr(self._library, function)
        try:
            return self._library.checked(bound, self._device, feature.encode(), *arguments)
        except AravisError as error:
            raise AravisError(f"{feature}: {error}") from error
