"""Loaded by Dask into a worker before it listens: RDMA goes by the port next to its GPU.

Importing this module does it: UCX looks once, and `dask_setup` is called after that.
"""

import importlib
import os
from collections.abc import MutableMapping
from importlib.util import find_spec
from typing import Any

from forebay.cluster.local_cuda.links import nearest_port, pci_address
from forebay.cluster.node.machine import Machine

VARIABLE = "UCX_NET_DEVICES"
"""The ports that UCX uses."""


def choose(machine: Machine, pynvml: Any, environment: MutableMapping[str, str]) -> None:
    """Let UCX use the port that is next to this process's GPU, unless somebody has chosen.

    Parameters
    ----------
    machine
        The machine.
    pynvml
        NVIDIA's library.
    environment
        Says which GPU it is, and is changed.
    """
    if VARIABLE in environment:
        return
    try:
        pynvml.nvmlInit()
        # The first of those that it sees; by its number, or by its name.
        own = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        by_number = own.isdigit()
        handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(own))
            if by_number
            else pynvml.nvmlDeviceGetHandleByUUID(own)
        )
    except pynvml.NVMLError:
        # Without a GPU there is nothing to be next to.
        return
    port = nearest_port(machine, pci_address(pynvml, handle))
    if port is not None:
        environment[VARIABLE] = port


if find_spec("pynvml") is not None:
    choose(Machine(), importlib.import_module("pynvml"), os.environ)
