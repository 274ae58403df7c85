"""How much of the weights is read, for builds that do not print it."""

from contextlib import suppress

import psutil

from splitrig.core.plan import Plan


class LoadProgress:
    """Watches how much of the model file the engine has mapped into memory.

    llama-server maps the file and reads it from one end to the other, so that its file-backed
    memory grows with what it has read (`shared` of `/proc/PID/statm`). Where a system does not
    report that, there is no progress to tell.
    """

    def __init__(self, pid: int | None, plan: Plan | None) -> None:
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            # `Process(None)` would be this program
            self._process = psutil.Process(pid) if pid is not None else None
        devices = plan.devices if plan is not None else ()
        self._all_bytes = sum(device.model_bytes for device in devices)
        if plan is not None:
            self._all_bytes += plan.host.model_bytes
        self._before_bytes: int | None = None
        self._sought = False

    def share(self, step: str) -> float | None:
        """Share of the weights read, 0–1; `None` when unknown or not in the step `weights`."""
        if self._process is None or not self._all_bytes:
            return None
        if step == "weights" and not self._sought:
            self._sought = True
            self._turn_to_child()
        try:
            mapped: int | None = getattr(self._process.memory_info(), "shared", None)
        except psutil.Error:
            self._process = None
            return None
        if mapped is None:
            return None
        if self._before_bytes is None:
            self._before_bytes = mapped
        if step != "weights":
            return None
        # The last hundredth is for what the log says when it is through.
        return min((mapped - self._before_bytes) / self._all_bytes, 0.99)

    def _turn_to_child(self) -> None:
        """Ollama has the model read by a llama-server below it."""
        children: list[psutil.Process] = []
        with suppress(psutil.Error):
            children = self._process.children() if self._process is not None else []
        if children:
            self._process, self._before_bytes = children[0], None
