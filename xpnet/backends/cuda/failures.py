"""What CuPy and CUDA raise when a GPU fails, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cupy

from ...errors import DeviceError, OutOfDeviceMemoryError

__all__ = ["explaining", "first_line"]

NO_MEMORY = 2
"""Of cudaError_t and of CUresult."""


@contextmanager
def explaining() -> Iterator[None]:
    """Within, what CuPy and CUDA raise becomes an OutOfDeviceMemoryError or a DeviceError."""
    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise no_memory(error) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        if error.status == NO_MEMORY:
            raise no_memory(error) from error
        raise DeviceError(
            f"the GPU failed ({first_line(error)}): look at nvidia-smi; what was saved is intact, "
            "and a training with --checkpoint goes on with --resume"
        ) from error


def no_memory(error: Exception) -> OutOfDeviceMemoryError:
    return OutOfDeviceMemoryError(
        f"the GPU is out of memory ({first_line(error)}): lower --batch-size or --hidden, or look "
        "at nvidia-smi for who else holds memory; what was saved is intact"
    )


def first_line(error: Exception) -> str:
    """What an exception says, without what follows."""
    return str(error).partition("\n")[0].rstrip(".")
