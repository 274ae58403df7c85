"""The right side while an engine starts or stops: its steps with their seconds."""

import time

from PySide6.QtWidgets import QVBoxLayout, QWidget

from splitrig.core.engine import STEPS, EngineKind, EngineStatus, Phase
from splitrig.core.engine_placement import (
    is_shared,
)
from splitrig.core.units import size_text
from splitrig.views.launch.plan_panel import VerdictHead
from splitrig.views.launch.wording import seconds_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.command_view import CommandView
from splitrig.views.widgets.scroll_column import ScrollColumn
from splitrig.views.widgets.step_list import Step, StepList
from splitrig.views.widgets.texts import Panel, text_label

WORDS = {
    "process": ("Starting the process", "Process started"),
    "weights": ("Loading weights", "Weights loaded"),
    "context": ("Reserving KV cache and compute", "KV cache and compute reserved"),
    "warmup": ("Warming up", "Warm-up done"),
}


ATTACHED = ("Ollama loads the model", "Loaded by Ollama")


def steps_of(status: EngineStatus, now_s: float | None = None) -> list[Step]:
    """The steps of a start; `now_s` is `time.monotonic()`, for the one in progress."""
    now_s = time.monotonic() if now_s is None else now_s
    steps = []
    attached = status.request is not None and status.request.engine is EngineKind.OLLAMA_ATTACHED
    for key in STEPS[:1] if attached else STEPS:
        going, done = ATTACHED if attached else WORDS[key]
        seconds = status.step_seconds.get(key)
        if status.step == key:
            steps.append(_current(status, key, going, now_s))
        elif seconds is not None:
            label = f"{done}, {_weights(status)}" if key == "weights" else done
            steps.append(Step(label=label, state="done", note=seconds_text(seconds)))
        elif status.phase is Phase.READY:
            # The engine went from one step to the one after next without saying so.
            steps.append(Step(label=done, state="done"))
        else:
            steps.append(Step(label=going))
    return steps


def _weights(status: EngineStatus) -> str:
    plan = status.plan
    planned = sum(d.model_bytes for d in plan.devices) + plan.host.model_bytes if plan else 0
    found = [b.model_bytes for b in status.actual.values() if b.model_bytes]
    told = found and not is_shared(status.actual)
    return size_text(sum(found) if told else planned)


def _current(status: EngineStatus, key: str, going: str, now_s: float) -> Step:
    since = status.step_since_s
    note = seconds_text(max(now_s - since, 0)) if since is not None else ""
    if key == "weights" and status.plan is not None and status.progress is not None:
        whole = sum(d.model_bytes for d in status.plan.devices) + status.plan.host.model_bytes
        note = f"{size_text(round(whole * status.progress))} of {size_text(whole)}"
        return Step(label=going, state="now", note=note, progress=status.progress)
    return Step(label=going, state="now", note=note)


class LoadingPanel(Panel):
    """What the engine does right now."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._status = EngineStatus()
        self._name = ""
        self.head = VerdictHead(theme)
        self.steps = StepList(theme)
        self.command = CommandView(theme)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 8, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self.steps)
        self._command_title = text_label(theme, "Command", weight=600)
        layout.addWidget(self._command_title)
        layout.addWidget(self.command)
        layout.addStretch(1)
        self.body.addWidget(self.head)
        self.body.addWidget(ScrollColumn(content), 1)

    def show_status(self, status: EngineStatus, name: str) -> None:
        """Show the steps of this start."""
        self._status, self._name = status, name
        if status.command:
            self.command.set_command(status.command)
        for widget in (self._command_title, self.command):
            widget.setVisible(bool(status.command))
        self.refresh()

    def refresh(self) -> None:
        """Let the seconds of the step in progress go on."""
        status = self._status
        if status.phase is Phase.STOPPING:
            self.head.show_words(
                "hourglass-medium", "muted", "Stopping", "The cards are free again in a moment."
            )
            self.steps.hide()
            return
        self.steps.show()
        steps = steps_of(status)
        self.steps.show_steps(steps)
        done = sum(step.state == "done" for step in steps)
        self.head.show_words(
            "hourglass-medium",
            "accent_text",
            f"Starting {self._name}",
            f"step {min(done + 1, len(steps))} of {len(steps)}",
        )
