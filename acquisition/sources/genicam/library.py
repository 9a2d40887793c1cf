"""The functions of Aravis and of GLib that a camera needs, bound with ctypes."""

import ctypes
import functools
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint64
from typing import Any, Final

from forebay.acquisition.errors import SourceError

_ARAVIS = "libaravis-0.8.so.0"
_GIO = "libgio-2.0.so.0"
_OBJECTS = "libgobject-2.0.so.0"
_GLIB = "libglib-2.0.so.0"
_OLDEST = "0.8.23"


class _Error(ctypes.Structure):
    """A ``GError``."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


_Pointer = ctypes.c_void_p
_Failure = POINTER(POINTER(_Error))

type _Signature = tuple[Any, Sequence[Any]]

_SIGNATURES: Final[Mapping[str, Mapping[str, _Signature]]] = {
    _GLIB: {
        "g_error_free": (None, [POINTER(_Error)]),
        "g_free": (None, [_Pointer]),
    },
    _OBJECTS: {
        "g_object_unref": (None, [_Pointer]),
        "g_type_check_instance_is_a": (c_int, [_Pointer, c_size_t]),
    },
    _GIO: {
        "g_inet_address_new_from_string": (_Pointer, [c_char_p]),
    },
    _ARAVIS: {
        "arv_get_n_interfaces": (c_uint, []),
        "arv_get_interface_id": (c_char_p, [c_uint]),
        "arv_disable_interface": (None, [c_char_p]),
        "arv_update_device_list": (None, []),
        "arv_get_n_devices": (c_uint, []),
        "arv_get_device_id": (c_char_p, [c_uint]),
        "arv_get_device_vendor": (c_char_p, [c_uint]),
        "arv_get_device_model": (c_char_p, [c_uint]),
        "arv_get_device_serial_nbr": (c_char_p, [c_uint]),
        "arv_get_device_address": (c_char_p, [c_uint]),
        "arv_gv_device_new": (_Pointer, [_Pointer, _Pointer, _Failure]),
        "arv_gv_device_is_controller": (c_int, [_Pointer]),
        "arv_gv_device_get_timestamp_tick_frequency": (c_uint64, [_Pointer, _Failure]),
        "arv_device_read_register": (c_int, [_Pointer, c_uint64, POINTER(c_uint), _Failure]),
        "arv_device_write_register": (c_int, [_Pointer, c_uint64, c_uint, _Failure]),
        "arv_device_execute_command": (None, [_Pointer, c_char_p, _Failure]),
        "arv_device_get_genicam_xml": (_Pointer, [_Pointer, POINTER(c_size_t)]),
        "arv_device_get_feature": (_Pointer, [_Pointer, c_char_p]),
        "arv_device_is_feature_available": (c_int, [_Pointer, c_char_p, _Failure]),
        "arv_device_get_boolean_feature_value": (c_int, [_Pointer, c_char_p, _Failure]),
        "arv_device_set_boolean_feature_value": (None, [_Pointer, c_char_p, c_int, _Failure]),
        "arv_device_get_integer_feature_value": (c_int64, [_Pointer, c_char_p, _Failure]),
        "arv_device_set_integer_feature_value": (None, [_Pointer, c_char_p, c_int64, _Failure]),
        "arv_device_get_integer_feature_bounds": (
            None,
            [_Pointer, c_char_p, POINTER(c_int64), POINTER(c_int64), _Failure],
        ),
        "arv_device_get_float_feature_value": (c_double, [_Pointer, c_char_p, _Failure]),
        "arv_device_set_float_feature_value": (None, [_Pointer, c_char_p, c_double, _Failure]),
        "arv_device_get_float_feature_bounds": (
            None,
            [_Pointer, c_char_p, POINTER(c_double), POINTER(c_double), _Failure],
        ),
        "arv_device_get_string_feature_value": (c_char_p, [_Pointer, c_char_p, _Failure]),
        "arv_device_set_string_feature_value": (None, [_Pointer, c_char_p, c_char_p, _Failure]),
        "arv_device_dup_available_enumeration_feature_values_as_strings": (
            POINTER(c_char_p),
            [_Pointer, c_char_p, POINTER(c_uint), _Failure],
        ),
        "arv_gc_feature_node_get_type": (c_size_t, []),
        "arv_gc_feature_node_get_actual_access_mode": (c_int, [_Pointer]),
        "arv_gc_enumeration_get_type": (c_size_t, []),
        "arv_gc_boolean_get_type": (c_size_t, []),
        "arv_gc_integer_get_type": (c_size_t, []),
        "arv_gc_float_get_type": (c_size_t, []),
        "arv_gc_string_get_type": (c_size_t, []),
        "arv_device_create_stream": (_Pointer, [_Pointer, _Pointer, _Pointer, _Failure]),
        "arv_stream_push_buffer": (None, [_Pointer, _Pointer]),
        "arv_stream_timeout_pop_buffer": (_Pointer, [_Pointer, c_uint64]),
        "arv_stream_get_info_uint64_by_name": (c_uint64, [_Pointer, c_char_p]),
        "arv_buffer_new_full": (_Pointer, [c_size_t, _Pointer, _Pointer, _Pointer]),
        "arv_buffer_get_user_data": (_Pointer, [_Pointer]),
        "arv_buffer_get_status": (c_int, [_Pointer]),
        "arv_buffer_get_payload_type": (c_int, [_Pointer]),
        "arv_buffer_get_frame_id": (c_uint64, [_Pointer]),
        "arv_buffer_get_timestamp": (c_uint64, [_Pointer]),
        "arv_buffer_get_system_timestamp": (c_uint64, [_Pointer]),
        "arv_buffer_get_data": (_Pointer, [_Pointer, POINTER(c_size_t)]),
        "arv_buffer_get_image_pixel_format": (c_uint, [_Pointer]),
        "arv_buffer_get_image_region": (None, [_Pointer, *[POINTER(c_int)] * 4]),
        "arv_buffer_get_image_padding": (None, [_Pointer, *[POINTER(c_int)] * 2]),
    },
}


class AravisError(Exception):
    """What Aravis says went wrong between it and a camera; it may go right the next time."""


class Library:
    """The bound functions, as attributes under the names that they have in C."""

    def __init__(self) -> None:
        for file, signatures in _SIGNATURES.items():
            loaded = ctypes.CDLL(file)
            for name, (result, arguments) in signatures.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)
        # Its properties follow as a list of any length, so that it has no fixed signature.
        self.g_object_set = ctypes.CDLL(_OBJECTS).g_object_set

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is not among the functions that are bound")

    def checked(self, function: Any, *arguments: Any) -> Any:
        """Call a function whose last argument is for an error, and return its result.

        Raises
        ------
        AravisError
            If it reports one.
        """
        error = POINTER(_Error)()
        result = function(*arguments, byref(error))
        if ctypes.cast(error, _Pointer).value is None:
            return result
        message = error.contents.message.decode(errors="replace")
        self.g_error_free(error)
        raise AravisError(message)


@functools.cache
def library() -> Library:
    """Return the library, loaded once.

    Raises
    ------
    SourceError
        If it is not installed, or too old.
    """
    try:
        return Library()
    except OSError as error:
        raise SourceError(
            f"GigE Vision cameras are reached through {_ARAVIS}, which cannot be loaded ({error}); "
            "install it, on Debian and Ubuntu with: apt install libaravis-0.8-0"
        ) from error
    except AttributeError as error:
        raise SourceError(
            f"{_ARAVIS} is too old ({error}); install Aravis {_OLDEST} or a later 0.8"
        ) from error
