"""The choices before a start: what the user changes, and the plan that follows at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from splitrig.core.advice import advise
from splitrig.core.config_files import ConfigFile, config_notes
from splitrig.core.engine import LaunchRequest
from splitrig.core.engine_rules import Knob, Ratio
from splitrig.core.environment import Replaced, environment_note
from splitrig.core.errors import DevicesUnknownError, SplitError, SplitRigError
from splitrig.core.gpu import Note, Rig, Severity
from splitrig.core.plan import Plan
from splitrig.core.units import MIB
from splitrig.core.vllm_layout import Layout
from splitrig.views.launch.editor import Editor
from splitrig.views.launch.fixes import Fix, ways_to_fit
from splitrig.views.launch.knobs import Knobs
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.ray_control import RayControl
from splitrig.views.launch.remote_control import RemoteControl
from splitrig.views.launch.wording import (
    extra_remarks,
    handle_text,
    more_remarks,
    remarks,
    vllm_remarks,
)

SETTLE_MS = 80
"""Ways out, advice and the command follow when the handle rests; bars and numbers at once."""
NOTABLE_BYTES = 8 * MIB
"""Free memory that changes by less does not move a plan."""


class PlanControl(QObject):
    """Joins the editor with the planner.

    Signals:
        planned: `plan` is another one, or may be.

    Attributes:
        plan: Where everything goes; `None` without a model or a card.
        remote: Cards of other machines, with signals and slots of its own.
        ray: Those for vLLM, likewise.
        replaced: Inherited variables that an engine does not get as they are.
        config_files: Files with options of engines that are there.
    """

    planned = Signal()

    def __init__(
        self,
        planner: Planner,
        editor: Editor,
        command_for: Callable[[LaunchRequest], Sequence[str]] | None,
        parent: QObject,
    ) -> None:
        """Wire both; nothing is planned before the first `replan`.

        Args:
            planner: What the user has chosen.
            editor: Where it is shown and changed.
            command_for: Gives the command Start would run; may raise `SplitRigError`.
            parent: Qt parent.
        """
        super().__init__(parent)
        self._planner, self._editor, self._command_for = planner, editor, command_for
        self.plan: Plan | None = None
        self.replaced: tuple[Replaced, ...] = ()
        self.config_files: tuple[ConfigFile, ...] = ()
        self._seen: list[tuple[str, str, str, int]] = []
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._on_settled)
        editor.cards.switched.connect(self._on_switched)
        self.remote = RemoteControl(planner, editor.cards.remote, self)
        self.remote.changed.connect(self._on_remote)
        self.ray = RayControl(planner, editor.cards.remote.ray, self)
        self.ray.changed.connect(self._on_remote)
        editor.split.changed.connect(self._on_split)
        editor.split.auto_wanted.connect(self._on_auto)
        editor.split.even_wanted.connect(self._on_even)
        editor.split.handle_changed.connect(self._on_handle)
        editor.split.layout_wanted.connect(self._on_layout)
        editor.knobs.changed.connect(self._on_knobs)
        editor.address.changed.connect(self._on_address)
        editor.plan.fix_chosen.connect(self._on_fix)

    def use_rig(self, rig: Rig) -> None:
        """Take a reading over; plan anew where it matters."""
        self._planner.set_rig(rig)
        seen = [
            (card.id, card.reason, card.note, (card.free_bytes or 0) // NOTABLE_BYTES)
            for card in self._planner.cards
        ]
        if seen != self._seen:
            self._seen = seen
            self.replan(typing=True)

    def use_knobs(self, knobs: Knobs | None = None) -> None:
        """Take these settings, or those the editor shows, as far as the engine takes them."""
        if knobs is not None:
            self._editor.knobs.show_knobs(knobs)
        self._planner.knobs = self._editor.knobs.knobs

    # What the user does

    @Slot(str, bool)
    def _on_switched(self, gpu_id: str, on: bool) -> None:  # noqa: FBT001 - the signal's own
        self._planner.switch(gpu_id, on=on)
        self.replan()

    @Slot()
    def _on_remote(self) -> None:
        self.replan(typing=True)

    @Slot(object)
    def _on_split(self, shares: tuple[float, ...]) -> None:
        try:
            self._planner.set_shares(shares)
        except SplitError:
            return
        self.replan(typing=True)

    @Slot()
    def _on_auto(self) -> None:
        self._planner.set_auto()
        self.replan()

    @Slot()
    def _on_even(self) -> None:
        self._planner.set_even()
        self.replan()

    @Slot(object)
    def _on_layout(self, layout: Layout | None) -> None:
        self._planner.vllm.wanted = layout
        self.replan()

    @Slot()
    def _on_handle(self) -> None:
        self._show_fit()

    @Slot(object)
    def _on_knobs(self, knobs: Knobs) -> None:
        self._planner.knobs = knobs
        self.replan()

    @Slot()
    def _on_address(self) -> None:
        address = self._editor.address
        self._planner.port, self._planner.host = address.port, address.host
        self._settle.start()

    @Slot(object)
    def _on_fix(self, fix: Fix) -> None:
        request = fix.request
        self.use_knobs(
            replace(
                self._planner.knobs,
                split_mode=request.split_mode,
                n_cpu_moe=request.n_cpu_moe,
                n_ctx=request.n_ctx,
                cache_type_k=request.cache_type_k,
                cache_type_v=request.cache_type_v,
                n_gpu_layers=request.n_gpu_layers,
                flash_attention=request.flash_attention,
            )
        )
        if request.split is not None:
            self._planner.set_shares(request.split)
        self.replan()

    # What follows

    def replan(self, *, typing: bool = False) -> None:
        """Plan anew and show it; `typing` leaves a text alone that is being written."""
        planner = self._planner
        if not typing:
            self._editor.split.field.setModified(False)
        cards = planner.all_cards
        used = [card for card in cards if card.used]
        self._editor.cards.show_cards(planner.cards, len(used), len(cards))
        self.ray.refresh()
        self.remote.refresh()
        self._editor.split.show_mode(planner.knobs.split_mode)
        self._editor.knobs.show_cache_types(planner.options.cache_types)
        self._editor.knobs.more.show_choices(planner.split_choices)
        self._editor.knobs.more.show_checked(planner.extra)
        self._editor.split.show_cards(used)
        self._editor.show_choices(cards, has_model=planner.has_model)
        self.plan = planner.plan()
        self._show_split()
        if self.plan is not None:
            numbers = {card.id: card.number for card in cards}
            speed = planner.speed(self.plan)
            devices = planner.devices if self.plan.devices else ()
            unable = planner.rules.name if planner.obstacle else ""
            self._editor.plan.show_plan(self.plan, devices, numbers, speed, unable=unable)
            handles = range(len(self.plan.devices) - 1)
            self._editor.split.bar.describe_handles([handle_text(self.plan, h) for h in handles])
        self._show_fit()
        self.planned.emit()
        self._settle.start()

    def _show_split(self) -> None:
        """The shares, and what vLLM makes of them."""
        planner, panel = self._planner, self._editor.split
        picked, made = planner.vllm.layout, planner.vllm_plan
        equal = picked is not None and picked.pp == 1
        panel.show_split(planner.shares, planner.n_slots, auto=planner.auto, equal=equal)
        taken = made.layout if made is not None else None
        panel.layouts.show_layouts(planner.vllm.layouts, picked, taken)
        if made is not None:
            panel.show_layout(made.layout, [card.n_layer for card in made.cards])

    def _show_fit(self) -> None:
        """Ask where the current handle may stand; free while only that handle moves."""
        made = self._planner.vllm_plan
        # with tensor parallel alone there is no handle to move without another layout
        counts = made is None or made.layout.pp > 1
        if counts and self.plan is not None and len(self.plan.devices) > 1:
            bar = self._editor.split.bar
            bar.show_fit(self._planner.fit_range(bar.current_handle))

    @Slot()
    def _on_settled(self) -> None:
        """What takes longer, once the choices rest."""
        plan, model = self.plan, self._planner.model
        if plan is not None and self._planner.vllm_plan is not None:
            self._editor.plan.show_fixes(())
            remarked = self._planner.ray.notes() + vllm_remarks(self._planner.vllm_plan)
            remarked += extra_remarks(self._planner.extra)
            # a plan for vLLM always has something to say, and only the first two stand open
            told = [*self._inherited(), *remarked]
            told.sort(key=lambda note: note.severity is Severity.INFO)
            self._editor.plan.show_notes(told)
            self._show_command()
        if plan is not None and self._planner.served is not None:
            self._editor.plan.show_fixes(())
            self._editor.plan.show_notes(self._inherited())
            self._show_command()
        if plan is None or model is None:
            return
        request = self._planner.plan_request()
        knobs, devices = self._planner.knobs, self._planner.devices
        rules = self._planner.rules
        ways: tuple[Fix, ...] = ()
        if not plan.fits:
            ways = ways_to_fit(
                model,
                devices,
                request,
                with_experts=Knob.EXPERTS in rules.knobs,
                with_split=rules.ratio is not Ratio.NONE,
            )
        self._editor.plan.show_fixes(ways)
        notes = [
            note
            for note in advise(self._planner.rig, plan)
            # the verdict and the ways out say it already
            if plan.fits or note.id != "low-vram"
        ]
        notes += more_remarks(knobs, model, self._planner.extra)
        notes += remarks(plan, model, knobs.n_ctx)
        notes += self._planner.remote.notes(model, plan, request)
        self.remote.refresh()
        self._editor.plan.show_notes([*notes, *self._inherited()])
        self._show_command()

    def _inherited(self) -> list[Note]:
        """What the engine would have from outside SplitRig."""
        note = environment_note(self.replaced, self._planner.engine)
        files = config_notes(self.config_files, self._planner.engine)
        return [*([note] if note is not None else []), *files]

    def _show_command(self) -> None:
        request = self._planner.launch_request()
        if request is None or self._planner.obstacle or self._command_for is None:
            self._editor.plan.show_command(())
            return
        try:
            self._editor.plan.show_command(self._command_for(request))
        except DevicesUnknownError as error:
            self._editor.plan.show_no_command(str(error))
        except SplitRigError as error:
            self._editor.plan.show_no_command(str(error), role="danger")
