"""The settings, declared once: type, default, title, help; page and file follow from this."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from splitrig.core.remote import RemoteEndpoint

VERSION = 1
"""Layout of the settings file; raised when a key moves or changes its meaning."""


class Appearance(StrEnum):
    """Which of the two palettes to use."""

    SYSTEM = "system"
    DARK = "dark"
    LIGHT = "light"


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", validate_assignment=True)


class AppearanceSettings(_Section):
    """How the window looks."""

    theme: Annotated[
        Appearance,
        Field(title="Theme", description="System follows the desktop where it tells."),
    ] = Appearance.SYSTEM


class EngineSettings(_Section):
    """Which engine is started."""

    llama_server: Annotated[
        Path | None,
        Field(
            title="llama-server",
            description="Empty: the newest one downloaded, else the one that came with SplitRig, "
            "else the one on PATH.",
            json_schema_extra={"file": True},
        ),
    ] = None
    python: Annotated[
        Path | None,
        Field(
            title="Python with llama-cpp-python",
            description="Empty: the one SplitRig runs in.",
            json_schema_extra={"file": True},
        ),
    ] = None
    vllm: Annotated[
        Path | None,
        Field(
            title="vLLM",
            description="The vllm command of its environment. Empty: the one on PATH.",
            json_schema_extra={"file": True},
        ),
    ] = None
    ollama: Annotated[
        Path | None,
        Field(
            title="ollama",
            description="Empty: the one on PATH, else the one in its usual place.",
            json_schema_extra={"file": True},
        ),
    ] = None
    ollama_url: Annotated[
        str,
        Field(
            title="Address of a running Ollama",
            description="Empty: what OLLAMA_HOST says, else http://127.0.0.1:11434.",
            max_length=300,
        ),
    ] = ""
    start_timeout_s: Annotated[
        int,
        Field(
            title="Longest start",
            description="A load from a slow disk can take minutes.",
            ge=10,
            le=3600,
            json_schema_extra={"unit": "s"},
        ),
    ] = 600
    restart_on_crash: Annotated[
        bool,
        Field(
            title="Start again after a crash",
            description="After 2 s, then 4, 8 and so on; never after a start that failed.",
        ),
    ] = False
    restart_tries: Annotated[
        int,
        Field(
            title="Restarts in a row",
            description="Five minutes of work are a new beginning.",
            ge=1,
            le=20,
        ),
    ] = 5


class TelemetrySettings(_Section):
    """How the cards are read."""

    interval_s: Annotated[
        float,
        Field(
            title="Read the cards every",
            description="More often costs more of the processor and keeps cards awake.",
            ge=0.5,
            le=10,
            json_schema_extra={"unit": "s", "step": 0.5},
        ),
    ] = 1.0


class Settings(_Section):
    """Everything the user can choose, and what is remembered between starts."""

    version: int = VERSION
    appearance: Annotated[AppearanceSettings, Field(title="Appearance")] = AppearanceSettings()
    engine: Annotated[EngineSettings, Field(title="Engine")] = EngineSettings()
    telemetry: Annotated[TelemetrySettings, Field(title="Readings")] = TelemetrySettings()
    recent_models: list[Path] = Field(default_factory=list)
    remote_endpoints: list[str] = Field(default_factory=list)

    def with_recent(self, model: Path, *, most: int = 8) -> "Settings":
        """A copy with `model` first among the recently used ones."""
        recent = [model, *(p for p in self.recent_models if p != model)][:most]
        return self.model_copy(update={"recent_models": recent})

    def with_remote(self, endpoint: str) -> "Settings":
        """A copy that remembers this RPC server, in its place if it is known already."""
        if any(RemoteEndpoint.is_same(known, endpoint) for known in self.remote_endpoints):
            return self
        return self.model_copy(update={"remote_endpoints": [*self.remote_endpoints, endpoint]})

    def without_remote(self, endpoint: str) -> "Settings":
        """A copy that has forgotten this RPC server, however the file writes it."""
        known = self.remote_endpoints
        rest = [text for text in known if not RemoteEndpoint.is_same(text, endpoint)]
        return self.model_copy(update={"remote_endpoints": rest})
