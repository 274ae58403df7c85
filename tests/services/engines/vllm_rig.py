"""Starts the fake vLLM through the real supervisor, on cards that exist only in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.services.engines.conftest import Watch, Watched
from tests.support.fake_vllm import LLAMA_8B, make_environment, make_model

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.plan import PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.core.vllm import VllmCard, VllmOptions, VllmPlan
from splitrig.core.vllm_plan import make_vllm_plan
from splitrig.services.models.hf import read_hf_model

TWO_3090 = ((23.0, 24.0), (23.0, 24.0))
UNEQUAL = ((23.0, 24.0), (9.0, 10.0))


@dataclass
class Started:
    """A start and what was planned for it."""

    watched: Watched
    request: LaunchRequest
    plan: VllmPlan
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class VllmRig:
    """An environment with the fake vLLM and models for it."""

    folder: Path
    watch: Watch

    def model(self, name: str = "Llama-8B", config: Mapping[str, object] = LLAMA_8B) -> Path:
        """A model folder."""
        path = self.folder / name
        return path if path.exists() else make_model(path, config)

    def prepare(
        self,
        cards: tuple[tuple[float, float], ...] = TWO_3090,
        options: VllmOptions | None = None,
        *,
        mode: str = "",
        speed: str = "0.005",
        **extra: str,
    ) -> Started:
        """Everything of a start but the start."""
        path = self.model()
        named = [
            VllmCard(
                name=f"card {n}", id=f"GPU-{n}", free_bytes=int(f * GIB), total_bytes=int(t * GIB)
            )
            for n, (f, t) in enumerate(cards)
        ]
        options = options or VllmOptions(n_ctx=4096)
        plan = make_vllm_plan(read_hf_model(path), named, options)
        request = LaunchRequest(
            model=path,
            engine=EngineKind.VLLM,
            devices=tuple(f"CUDA{n}" for n in range(len(cards))),
            plan=PlanRequest(n_ctx=plan.n_ctx),
            vllm=plan.decided(options),
        )
        env = {
            "FAKE_VLLM": mode,
            "FAKE_SPEED": speed,
            "FAKE_CARDS": ",".join(f"{free}/{total}" for free, total in cards),
            **extra,
        }
        return Started(self.watch_it(env), request, plan, env)

    def watch_it(self, env: Mapping[str, str]) -> Watched:
        """A supervisor that finds the fake."""
        folder = self.folder / "env"
        if not folder.exists():
            make_environment(folder)
        return self.watch(extra_env=env, settings=EngineSettings(vllm=folder))

    def start(self, *arguments: object, **options: object) -> Started:
        """Prepare and start."""
        started = self.prepare(*arguments, **options)  # type: ignore[arg-type]
        started.watched.start(started.request, started.plan.as_plan())
        return started


@pytest.fixture
def rig(tmp_path: Path, watch: Watch) -> VllmRig:
    """The fake vLLM."""
    return VllmRig(tmp_path / "vllm", watch)
