"""Which CUDA the driver offers."""

from collections.abc import Callable

import pynvml
import pytest
from tests.fakes.nvml import fake_nvml

from splitrig.services.telemetry.cuda import cuda_version

Show = Callable[[str], None]


def test_the_driver_says_it(driver: Show) -> None:
    driver(fake_nvml.MIXED)
    assert cuda_version() == (13, 0)
    with pytest.raises(pynvml.NVMLError):  # it let go of the driver
        pynvml.nvmlDeviceGetCount()


def test_a_driver_that_does_not_work(driver: Show) -> None:
    driver("init 9\n" + fake_nvml.MIXED)
    assert cuda_version() is None
