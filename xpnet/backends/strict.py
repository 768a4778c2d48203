"""array-api-strict: the standard to the letter; the reference that CI's fake GPU is made of."""

from __future__ import annotations

import numpy as np

from ..errors import check_choice
from ..types import Array, NumpyArray
from .backend import Backend

__all__ = ["load", "of"]

DEVICES = {"cpu": "CPU_DEVICE", "device1": "device1", "device2": "device2"}


class StrictBackend(Backend):
    """``device1`` and ``device2`` refuse to mix with the CPU and with NumPy, as a GPU does."""

    def to_numpy(self, array: Array) -> NumpyArray:
        host = array.to_device(self.xp.Device("CPU_DEVICE"))  # sync: the one way back to the host
        return np.array(host)


def load(device: str | None) -> Backend:
    """array-api-strict on one of the devices it pretends to have."""
    import array_api_strict

    name = check_choice("device of array-api-strict", device or "cpu", DEVICES)
    return StrictBackend(
        "array-api-strict",
        array_api_strict,
        device=array_api_strict.Device(DEVICES[name]),
        device_name=name,
        version=array_api_strict.__version__,
    )


def of(array: Array) -> Backend:
    """The backend of an array of array-api-strict, on the array's device."""
    import array_api_strict

    devices = {array_api_strict.Device(native): name for name, native in DEVICES.items()}
    return load(devices[array.device])
