"""Whether there is a GPU to test on."""

from __future__ import annotations

import ctypes


def cuda_devices() -> int:
    """GPUs that the driver sees, asked of the driver itself so that no framework has to be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
