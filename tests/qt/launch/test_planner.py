"""What the planner says about a card; it knows no widgets."""

from dataclasses import replace

import pytest
from launch_samples import make_rig

from splitrig.core.gpu import Vendor
from splitrig.views.launch.planner import Planner


@pytest.mark.parametrize(
    ("vendor", "load", "lanes", "note"),
    [
        (Vendor.NVIDIA, 0.0, 4, "PCIe ×4"),
        (Vendor.NVIDIA, 0.0, 16, ""),
        (Vendor.AMD, 0.0, 1, ""),  # amdgpu parks the lanes at idle
        (Vendor.AMD, None, 1, ""),
        (Vendor.AMD, 95.0, 4, "PCIe ×4"),
    ],
)
def test_few_lanes_are_told_where_they_mean_something(
    vendor: Vendor, load: float | None, lanes: int, note: str
) -> None:
    rig = make_rig(1)
    (gpu,) = rig.gpus
    gpu = replace(gpu, vendor=vendor, pcie_lanes_max=16)
    sample = replace(rig.samples[gpu.id], utilization_pct=load, pcie_lanes=lanes)
    planner = Planner()
    planner.set_rig(replace(rig, gpus=(gpu,), samples={gpu.id: sample}))
    assert planner.cards[0].note == note
