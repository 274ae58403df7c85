"""Which CUDA the NVIDIA driver offers."""

from contextlib import suppress

import pynvml


def cuda_version() -> tuple[int, int] | None:
    """Highest CUDA version of the driver (nvmlSystemGetCudaDriverVersion), such as (13, 0).

    `None` without a driver that answers. Blocks as long as the driver takes to open, some 20 ms.
    """
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return None
    try:
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return None
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return number // 1000, number % 1000 // 10
