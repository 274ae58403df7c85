"""llama.cpp builds in words."""

import re

from splitrig.core.engine import EngineDevice
from splitrig.core.engine_build import Build, Ready, Source
from splitrig.core.engine_choice import Choice
from splitrig.core.engine_install import Progress, Step
from splitrig.core.gpu import short_card_name
from splitrig.core.units import number_text, rate_text, size_text
from splitrig.core.words import counted
from splitrig.views.widgets.step_list import Step as ShownStep

AUTOMATIC = "Automatic"
AUTOMATIC_NOTE = "The newest download, else the one that came with SplitRig, else the one on PATH."
IDLE = (
    "Fetches the official build for your cards from GitHub, checks it, and tries it. "
    "Nothing is asked of the network before you press the button."
)
LOOKING = "Asking GitHub for the newest builds"
_FLAVOURS = {
    "cpu": "CPU", "cuda": "CUDA", "hip": "HIP", "rocm": "ROCm", "radeon": "", "vulkan": "Vulkan",
    "sycl": "SYCL", "fp16": "FP16", "fp32": "FP32", "opencl": "OpenCL", "adreno": "Adreno",
    "openvino": "OpenVINO", "metal": "Metal",
}  # fmt: skip
_ORDER = (Step.DOWNLOAD, Step.UNPACK, Step.TRY)
_GOING = {Step.DOWNLOAD: "Downloading", Step.UNPACK: "Unpacking", Step.TRY: "Trying it here"}
_DONE = {Step.DOWNLOAD: "Downloaded and checked", Step.UNPACK: "Unpacked", Step.TRY: "Tried"}


def flavour_text(flavour: str) -> str:
    """`CUDA 13.4` for `cuda-13.4`, `HIP` for `hip-radeon`."""
    return " ".join(filter(None, (_FLAVOURS.get(word, word) for word in flavour.split("-"))))


def id_text(engine_id: str) -> str:
    """`b11118 · CUDA 13.4` for `b11118-cuda-13.4`."""
    build, _, flavour = engine_id.partition("-")
    return f"{build} · {flavour_text(flavour)}" if flavour else build


def choice_text(choice: Choice) -> str:
    """`b11118 · CUDA 13.4`."""
    return id_text(choice.asset.id)


def backends_text(devices: tuple[EngineDevice, ...]) -> str:
    """What drives these devices, by the engine's own names: `CUDA`, `Vulkan`; empty for none."""
    kinds = (re.match(r"[A-Za-z]+", device.name) for device in devices)
    return " and ".join(dict.fromkeys(kind[0] for kind in kinds if kind is not None))


def title_text(build: Build) -> str:
    """`b11118 · CUDA 13.4`."""
    if build.id is not None:
        return id_text(build.id)
    name = build.build or build.path.name
    backends = backends_text(build.devices or ())
    return f"{name} · {backends}" if backends else name


def cards_text(devices: tuple[EngineDevice, ...]) -> str:
    """`RTX 4090 and RTX 3080`."""
    return counted([short_card_name(device.description) for device in devices])


def note_text(build: Build) -> str:
    """Where it is from, and which cards it sees."""
    if build.damaged:
        return "Not whole, and can only be removed."
    words = {
        Source.DOWNLOADED: "Downloaded",
        Source.BUNDLED: "Came with SplitRig",
        Source.PATH: "On PATH",
        Source.CHOSEN: "Your file",
    }[build.source]
    if build.checked is False:
        words += ", checksum not compared"
    parts = [words, *_seen(build)]
    if build.source in {Source.PATH, Source.CHOSEN}:
        parts.append(str(build.path))
    return " · ".join(parts)


def _seen(build: Build) -> list[str]:
    if build.error is not None:
        return []
    if not build.asked:
        return ["being asked which cards it sees"]
    if build.devices is None:
        return ["asked for its cards when no engine runs"]
    return [f"sees {cards_text(build.devices)}" if build.devices else "sees no card"]


def size_words(choice: Choice) -> str:
    """How much there is to fetch."""
    size = size_text(choice.size_bytes)
    return f"{size} with the CUDA libraries" if choice.companions else size


def facts_text(choice: Choice) -> str:
    """How much there is to fetch, and how old it is."""
    date = (choice.release.published or "")[:10]
    return f"{size_words(choice)} · published {date}" if date else size_words(choice)


def progress_text(progress: Progress, bytes_s: float | None) -> str:
    """`39 % · 6.2 MiB of 15.6 MiB · 4.1 MB/s · 2 min left`."""
    done, total = progress.done_bytes, progress.total_bytes
    parts = [
        f"{number_text(100 * done // max(total, 1))} %",
        f"{size_text(done)} of {size_text(total)}",
    ]
    if bytes_s is not None and bytes_s < 1:
        parts.append("the server is silent")
    elif bytes_s is not None:
        parts += [rate_text(bytes_s), f"{left_text((total - done) / bytes_s)} left"]
    return " · ".join(parts)


def left_text(seconds: float) -> str:
    """`8 s`, `2 min`, `1 h 5 min`; rounded up, so that it never says 0."""
    whole = max(int(seconds + 0.999), 1)
    if whole <= 90:
        return f"{whole} s"
    minutes = (whole + 59) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def steps_of(progress: Progress | None, bytes_s: float | None) -> list[ShownStep]:
    """The steps of an installation; `None` before the first news."""
    now = _ORDER.index(progress.step) if progress is not None else 0
    steps = []
    for place, step in enumerate(_ORDER):
        if place < now:
            steps.append(ShownStep(label=_DONE[step], state="done"))
        elif place > now:
            steps.append(ShownStep(label=_later(step)))
        elif progress is None or step is not Step.DOWNLOAD:
            steps.append(ShownStep(label=_GOING[step], state="now"))
        else:
            share = progress.done_bytes / max(progress.total_bytes, 1)
            note = progress_text(progress, bytes_s)
            steps.append(ShownStep(label=_GOING[step], state="now", note=note, progress=share))
    return steps


def _later(step: Step) -> str:
    return {Step.DOWNLOAD: "Download", Step.UNPACK: "Unpack", Step.TRY: "Try it here"}[step]


def ready_words(ready: Ready, *, used: bool | None) -> tuple[str, str, str]:
    """Severity, title and detail of what is said once a build is there.

    Args:
        ready: The build.
        used: Whether it is the one that would be started; `None` until that is known.
    """
    done = "is installed" if ready.fresh else "was here already"
    title = f"{id_text(ready.id)} {done}."
    parts = [] if ready.checked else ["Its checksum was not compared."]
    if used is not None:
        parts.append("It is used from now on." if used else "Another one is used.")
    if ready.devices:
        return "success", title, " ".join([f"It sees {cards_text(ready.devices)}.", *parts])
    if ready.blind:
        cards = "the card" if ready.n_cards == 1 else f"the {ready.n_cards} cards"
        parts.insert(0, f"It starts, but does not see {cards}.")
        return "warning", title, " ".join(parts)
    return "success", title, " ".join(["It runs on the processor.", *parts])
