"""Which GigE Vision cameras are on the network."""

import ipaddress
import threading
from dataclasses import dataclass

from forebay.acquisition.sources.genicam.library import AravisError, Library, library
from forebay.acquisition.sources.messages import shown

_GIGE_VISION = b"GigEVision"
# Aravis keeps one list, which the next search replaces.
_searching = threading.Lock()


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that has answered."""

    id: str
    """Vendor, model and serial number; unique."""
    vendor: str
    """Who made it."""
    model: str
    """What it is."""
    serial: str
    """Its serial number; its MAC address where it has none."""
    address: str
    """Its IPv4 address."""

    @property
    def names(self) -> frozenset[str]:
        """What it can be called by."""
        return frozenset({self.id, f"{self.vendor}-{self.serial}", self.serial, self.address})


def cameras() -> tuple[FoundCamera, ...]:
    """Return the GigE Vision cameras that answer on the networks of this machine.

    This sends a broadcast on each network interface and waits a second for answers.

    Returns
    -------
    tuple of FoundCamera
        Ordered by their ids.

    Raises
    ------
    SourceError
        If the library that reaches them is not installed.
    """
    aravis = library()
    with _searching:
        for index in range(aravis.arv_get_n_interfaces()):
            kind = aravis.arv_get_interface_id(index)
            if kind != _GIGE_VISION:
                aravis.arv_disable_interface(kind)
        aravis.arv_update_device_list()
        found = [_described(aravis, index) for index in range(aravis.arv_get_n_devices())]
    return tuple(sorted(found, key=lambda camera: camera.id))


def address_of(camera: str) -> str:
    """Return the address of a camera.

    Parameters
    ----------
    camera
        Its IPv4 address, for which nothing is sent; or its id, its serial number, or vendor and
        serial number with a hyphen between them, for which it is looked for with `cameras`.

    Raises
    ------
    AravisError
        If no camera that answers is called so, or several are.
    """
    try:
        return str(ipaddress.IPv4Address(camera))
    except ValueError:
        seen = cameras()
    called = [one for one in seen if camera in one.names]
    if len(called) == 1:
        return called[0].address
    those = called or seen
    listed = ", ".join(f"{shown(one.id)} at {one.address}" for one in those) or "none at all"
    which = "several cameras are called so" if called else "no camera that is called so answers"
    raise AravisError(f"{which}; seen: {listed}")


def _described(aravis: Library, index: int) -> FoundCamera:
    names = ("id", "vendor", "model", "serial_nbr", "address")
    texts = [getattr(aravis, f"arv_get_device_{name}")(index) or b"" for name in names]
    return FoundCamera(*(text.decode(errors="replace") for text in texts))
