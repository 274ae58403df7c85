"""Which devices a program is shown."""

import pytest

from splitrig.core.visible_devices import visible_devices


@pytest.mark.parametrize(
    ("names", "cuda", "vulkan", "renamed"),
    [
        (("CUDA1", "CUDA0"), "1,0", "", ("CUDA0", "CUDA1")),
        (("CUDA3",), "3", "", ("CUDA0",)),
        (("Vulkan2", "Vulkan0"), "-1", "2,0", ("Vulkan0", "Vulkan1")),
        (("CUDA1", "Vulkan0"), "1", "0", ("CUDA0", "Vulkan0")),
        (("RPC0", "RPC1"), "-1", "", ("RPC0", "RPC1")),
        ((), "-1", "", ()),
    ],
)
def test_only_the_named_devices_are_seen_in_their_order(
    names: tuple[str, ...], cuda: str, vulkan: str, renamed: tuple[str, ...]
) -> None:
    env, seen = visible_devices(names)
    assert env["CUDA_VISIBLE_DEVICES"] == cuda
    assert env["GGML_VK_VISIBLE_DEVICES"] == vulkan
    assert env["HIP_VISIBLE_DEVICES"] == "-1"
    assert seen == renamed


def test_a_radeon_is_shown_by_its_own_variable() -> None:
    env, seen = visible_devices(("ROCm1",))
    assert env["HIP_VISIBLE_DEVICES"] == "1"
    assert seen == ("ROCm0",)
