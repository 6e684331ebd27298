"""One case of the fault benchmark: run it, see what the product says, repair it, and write down how it went."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.fault_cases import CASES
from tests.benchmarks.fault_data import write_model, write_rows
from tutor_agent.actions.context import Context
from tutor_agent.actions.diagnose import diagnose_run
from tutor_agent.actions.fix import apply_fix, propose_fix
from tutor_agent.actions.plan import PlanRequest, make_plan
from tutor_agent.actions.run import start_run
from tutor_agent.actions.runs import resume_run, show_run, stop_run
from tutor_agent.core.changes import Entry, PlanChange
from tutor_agent.core.errors import TutorError
from tutor_agent.core.facts import Goal
from tutor_agent.diagnose.repair import is_gone, main_finding
from tutor_agent.runs import control
from tutor_agent.runs.folder import RunFolder
from tutor_agent.runs.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.fault_cases import Case
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.plan import Plan
    from tutor_agent.runs.view import RunView

HOOK = Path(__file__).with_name("fault_hook")
_LONGEST = 420.0
_HUNG_GRACE = 3.0
"""Seconds; a suspended process does not hear that it is to stop."""
_USUAL: dict[str, Any] = {
    "data.max_length": 128,
    "optim.micro_batch": 4,
    "optim.accumulate": 1,
    "optim.max_steps": 66,
    "optim.epochs": 3,
    "optim.warmup": 4,
    "evaluation.every": 11,
    "evaluation.samples": 0,
    "evaluation.generated_rows": 0,
    "evaluation.early_stopping": None,
    "evaluation.max_rows": 40,
}
_RATES = {"lora": 5e-4, "full-fine-tuning": 1e-4, "layer-freezing": 1e-4}


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    name: str
    healthy: bool
    abrupt: bool
    declared: tuple[str, ...]
    state: str
    """State of the first run, or `refused`."""
    detected: bool = False
    how: str = ""
    named: str = ""
    right: bool = False
    step: int | None = None
    delay: int | None = None
    """Logged points between the first bad one and the word about it."""
    before: bool = False
    """Whether it was told before training."""
    repair: str = ""
    repair_state: str = ""
    repaired: bool = False
    warnings: tuple[str, ...] = ()
    words: str = ""
    seconds: float = 0.0


def run_case(name: str, work: Path) -> Outcome:
    """Run the case called `name` in a folder of its own under `work`; a finished one is read back."""
    case = next(case for case in CASES if case.name == name)
    kept = work / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
    if kept.is_file():
        data = json.loads(kept.read_text(encoding="utf-8"))
        return Outcome(**{**data, **{k: tuple(data[k]) for k in ("declared", "warnings")}})
    folder = kept.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    outcome = _Bench(case, folder).judge()
    outcome = Outcome(**{**asdict(outcome), "seconds": round(time.monotonic() - began, 1)})
    kept.write_text(json.dumps(asdict(outcome), ensure_ascii=False, indent=1), encoding="utf-8")
    return outcome


class _Bench:
    """The workspace of one case."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.context = Context(workspace=folder)

    def judge(self) -> Outcome:
        """Run, diagnose and repair."""
        try:
            view = self._first_run()
        except TutorError as error:
            return self._refused(error)
        return self._sound(view) if self.case.healthy else self._faulty(view)

    def _first_run(self) -> RunView:
        plan, why = self._plan(self.case.rows, self.case.model)
        with _Broken(self.case.sabotage):
            view = start_run(self.context, plan, why)
            if self.case.resume_at:
                self._wait(view.name, lambda now: now.step >= self.case.resume_at)
                stop_run(self.context, view.name)
                resume_run(self.context, view.name)
            return self._wait(view.name)

    def _plan(self, rows: str, model: str) -> tuple[Plan, Any]:
        files = write_rows(rows, self.folder)
        case = self.case
        values = {**_USUAL, "optim.learning_rate": _RATES[case.skill], **files, **case.changes}
        change = PlanChange(entries=tuple(Entry(path=k, value=v) for k, v in values.items()))
        request = PlanRequest(
            goal=Goal(task=case.task, skill=case.skill),  # type: ignore[arg-type]
            model=str(write_model(model, self.folder)),
            data=str(self.folder / "rows.jsonl"),
            name="case",
            change=change,
        )
        advice = make_plan(self.context, request)
        return advice.plan, advice.why

    def _wait(self, name: str, until: Callable[[RunView], bool] = lambda _: False) -> RunView:
        """Wait for the end of a run, or until `until` holds; a run that hangs is stopped."""
        deadline = time.monotonic() + _LONGEST
        while True:
            view = show_run(self.context, name)
            if not view.active or until(view):
                return view
            hangs = view.findings and view.reason is not None
            if time.monotonic() > deadline or hangs:
                control.stop(RunFolder(Path(view.path)), _HUNG_GRACE)
                return show_run(self.context, name)
            threading.Event().wait(0.3)

    def _refused(self, error: TutorError) -> Outcome:
        case, words = self.case, error.text.en
        right = bool(case.told and re.search(case.told, words, re.IGNORECASE))
        repair, state, good = self._by_hand(None) if right else ("", "", False)
        return self._outcome(
            state="refused",
            detected=right,
            how="refused",
            named=type(error).__name__,
            right=right,
            delay=0,
            before=True,
            repair=repair,
            repair_state=state,
            repaired=good,
            words=words,
        )

    def _outcome(self, **figures: Any) -> Outcome:
        case = self.case
        return Outcome(case.name, case.healthy, case.abrupt, case.causes, **figures)

    def _sound(self, view: RunView) -> Outcome:
        told = tuple(f"{f.cause} at {f.step}" for f in view.findings if f.severity != "hint")
        diagnosis = diagnose_run(self.context, view.name)
        if diagnosis.verdict == "fault" and view.state == "completed":
            told += tuple(f"{f.cause} afterwards" for f in diagnosis.findings[:1])
        words = view.reason.en if view.reason else ""
        return self._outcome(state=view.state, warnings=told, named=diagnosis.verdict, words=words)

    def _faulty(self, view: RunView) -> Outcome:
        case = self.case
        found = [f for f in view.findings if f.severity != "hint" or f.cause in case.causes]
        how = "live"
        if not found and view.state != "completed":
            found, how = list(diagnose_run(self.context, view.name).findings), "at the end"
        early = [f for f in found if case.began and (f.step or 0) < case.began - 1]
        main = main_finding(found, view.cause)
        words = self._words(view, main)
        told = bool(case.told and re.search(case.told, words, re.IGNORECASE | re.DOTALL))
        right = told or (main is not None and main.cause in case.causes)
        delay, before = self._delay(view, found)
        detected = bool(found or told) and not early
        repair, state, good = self._repair(view, main) if detected else ("", "", False)
        return self._outcome(
            state=view.state,
            detected=detected,
            how=how if found else "by words",
            named=main.cause if main else "",
            right=right and detected,
            step=found[0].step if found else view.step,
            delay=delay,
            before=before,
            repair=repair,
            repair_state=state,
            repaired=good,
            warnings=tuple(f"{f.cause} at {f.step} ({f.severity})" for f in view.findings),
            words=words[:600],
        )

    def _words(self, view: RunView, main: Finding | None) -> str:
        parts = [view.reason.en if view.reason else ""]
        parts += [text.en for text in getattr(view, "story", ())]
        parts += [text.en for text in main.evidence] if main else []
        return "\n".join(part for part in parts if part)

    def _delay(self, view: RunView, found: list[Finding]) -> tuple[int, bool]:
        """Return the logged points from the first bad one to the word, and whether none was needed."""
        events = [e for e in Follower(RunFolder(Path(view.path))).poll() if e.kind == "step"]
        first = max(self.case.began, 1)
        if self.case.resume_at:
            first = min((e.step for e in events if e.attempt), default=first)
        told = found[0].step if found and found[0].step is not None else view.step
        # What the guard holds back is told with the step before it.
        return max(1, told - first + 1) if told else 0, not told

    def _repair(self, view: RunView, main: Finding | None) -> tuple[str, str, bool]:
        """Repair as the tutor proposes, else as a person would; return what, its end, and whether it holds."""
        if self.case.mend != "plan":
            return self._by_hand(view, main)
        lasting = self.case.sabotage if self.case.lasting else ""
        try:
            proposal = propose_fix(self.context, view.name)
            with _Broken(lasting):
                after = self._wait(apply_fix(self.context, proposal).name)
        except TutorError as error:
            return "refused", error.text.en[:200], False
        return f"plan: {proposal.fix.id}", after.state, self._holds(after, proposal.finding)

    def _by_hand(self, view: RunView | None, main: Finding | None = None) -> tuple[str, str, bool]:
        """Mend what the findings tell a person to mend; code and machine go on from the last checkpoint."""
        what = self.case.mend
        ids = [fix.id for fix in main.fixes] if main else []
        repair = f"{what}: {ids[0] if ids else 'as told'}"
        try:
            if what == "code" and view is not None and view.state != "completed":
                after = self._wait(resume_run(self.context, view.name).name)
            else:
                rows = self.case.rows if what == "code" else "talks"
                if self.case.task == "classification":
                    rows = "labels"
                after = self._wait(start_run(self.context, *self._plan(rows, "sound")).name)
        except TutorError as error:
            return repair, error.text.en[:200], False
        return repair, after.state, self._holds(after, main)

    def _holds(self, after: RunView, finding: Finding | None) -> bool:
        """Whether a repaired run is complete, its loss a number, and the fault gone."""
        finite = after.loss is not None and after.loss == after.loss and after.loss < 1e6
        if after.state != "completed" or not finite:
            return False
        events = Follower(RunFolder(Path(after.path))).poll()
        return finding is None or is_gone(finding, events) is True


class _Broken:
    """Sets the environment that breaks the ranks which are started meanwhile."""

    def __init__(self, sabotage: str) -> None:
        self._sabotage = sabotage

    def __enter__(self) -> None:
        self._paths = os.environ.get("PYTHONPATH")
        if self._sabotage:
            os.environ["TUTOR_FAULT"] = self._sabotage
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOK), self._paths]))

    def __exit__(self, *_: object) -> None:
        os.environ.pop("TUTOR_FAULT", None)
        if self._paths is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = self._paths
