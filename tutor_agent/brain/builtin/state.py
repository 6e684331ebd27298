"""What a conversation has come to: rebuilt from its entries alone, so that nothing can go stale."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tutor_agent.advise.interview import Question, next_question
from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.reading import Known, Reading, read_message
from tutor_agent.brain.history import CallEntry, NoticeEntry, ResultEntry, UserEntry
from tutor_agent.core.changes import Entry as Change
from tutor_agent.core.contract import Contract
from tutor_agent.core.facts import DataFacts, Goal, Machine, ModelFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.brain.history import Entry
    from tutor_agent.core.text import Language

_F = TypeVar("_F", bound=Contract)
_GOAL_SLOTS = frozenset({"task", "domain", "wish", "skill", "max_hours"})


class Offer(StrEnum):
    """What a bare `yes` would agree to."""

    none = "none"
    start = "start"
    repair = "repair"
    apply = "apply"
    resume = "resume"


@dataclass(frozen=True)
class Option:
    """One numbered choice."""

    slot: str
    """data, model, a field of the goal, or `topic`."""
    value: Any
    label: str


@dataclass
class Turn:
    """The latest message or event, and what was done about it so far."""

    opening: UserEntry | NoticeEntry | None = None
    reading: Reading = field(default_factory=lambda: Reading(""))
    results: list[ResultEntry] = field(default_factory=list[ResultEntry])
    picked: Option | None = None


@dataclass
class State:
    """Everything the built-in brain keeps in mind."""

    language: Language = "en"
    goal: Goal = field(default_factory=Goal)
    files: tuple[str, ...] | None = None
    data_path: str | None = None
    data: DataFacts | None = None
    model_name: str | None = None
    unclear: str | None = None
    model: ModelFacts | None = None
    machine_words: str | None = None
    machine: Machine | None = None
    decided: dict[str, Change] = field(default_factory=dict[str, Change])
    plan: dict[str, Any] | None = None
    stale: bool = False
    """The plan was made before the latest wish."""
    script: dict[str, Any] | None = None
    """How the script was read whose plan still lacks something."""
    run: str | None = None
    run_data: dict[str, Any] = field(default_factory=dict[str, Any])
    proposal: dict[str, Any] | None = None
    tuning: bool = False
    offer: Offer = Offer.none
    options: tuple[Option, ...] = ()
    asked: set[str] = field(default_factory=set[str])
    card: str | None = None
    """Title of the card that was quoted last."""

    @property
    def plan_name(self) -> str | None:
        """Name of the plan on the table."""
        return str(self.plan["plan_name"]) if self.plan else None

    def known(self) -> Known:
        """Return what changes how the next message is read."""
        return Known(
            language=self.language,
            has_plan=self.plan is not None,
            has_run=self.run is not None,
            choices=len(self.options),
            files=self.files or (),
            tuning=self.tuning,
        )


def read_state(history: Sequence[Entry], language: Language = "en") -> tuple[State, Turn]:
    """Rebuild the state and the current turn from the conversation."""
    state, turn = State(language=language), Turn()
    calls: dict[str, CallEntry] = {}
    for entry in history:
        match entry:
            case UserEntry():
                _close(state, turn)
                turn = _hear(state, entry)
            case NoticeEntry():
                _close(state, turn)
                turn = Turn(
                    entry, Reading(entry.text.pick(state.language), language=state.language)
                )
                state.run, state.offer = entry.run, Offer.none
            case CallEntry(call=call):
                calls[call] = entry
            case ResultEntry(call=call):
                turn.results.append(entry)
                _learn(state, entry, calls[call].arguments if call in calls else {})
            case _:
                pass
    return state, turn


def question_now(state: State) -> Question | None:
    """Return the question whose answer would change the plan, if it was not asked before."""
    # What nobody said must stay unset: a field that was set counts as answered.
    question = _question(
        state.goal.model_dump_json(exclude_unset=True),
        *(x.model_dump_json() if x else "" for x in (state.data, state.model, state.machine)),
    )
    return question if question and question.slot not in state.asked else None


@lru_cache(maxsize=64)
def _question(goal: str, data: str, model: str, machine: str) -> Question | None:
    return next_question(
        Goal.model_validate_json(goal),
        DataFacts.model_validate_json(data) if data else None,
        ModelFacts.model_validate_json(model) if model else None,
        Machine.model_validate_json(machine) if machine else None,
    )


def file_options(state: State) -> tuple[Option, ...]:
    """Return the data files of the workspace as choices."""
    return tuple(Option("data", path, path) for path in (state.files or ())[:9])


def question_options(state: State, question: Question) -> tuple[Option, ...]:
    """Return the plausible answers of a question as choices."""
    return tuple(
        Option(question.slot, c.value, c.text.pick(state.language)) for c in question.choices
    )


def _close(state: State, turn: Turn) -> None:
    """At the end of a turn, keep which numbered choices stood at its end."""
    state.options = ()
    if turn.opening is None:
        return
    last = turn.results[-1] if turn.results else None
    if last and last.tool == "look_up" and last.ok and not as_map(last.data).get("sure"):
        cards = as_rows(as_map(last.data).get("cards"))
        state.options = tuple(Option("topic", c["title"], c["title"]) for c in cards)
    elif state.tuning and state.plan is None:
        _close_interview(state)


def _close_interview(state: State) -> None:
    if state.data is None:
        state.options = file_options(state) if len(state.files or ()) > 1 else ()
        return
    question = question_now(state)
    if question is not None:
        state.options = question_options(state, question)
        state.asked.add(question.slot)


def _hear(state: State, entry: UserEntry) -> Turn:
    reading = read_message(entry.words, state.known())
    turn = Turn(entry, reading)
    state.language = reading.language
    state.goal = state.goal.model_copy(update={"language": reading.language})
    if reading.intent is Intent.pick and reading.pick:
        turn.picked = state.options[reading.pick - 1]
        _take(state, turn.picked.slot, turn.picked.value)
    elif reading.intent in {Intent.tune, Intent.tell, Intent.change, Intent.start, Intent.see_data}:
        _absorb(state, reading)
    return turn


def _absorb(state: State, reading: Reading) -> None:
    if reading.intent is Intent.tune and state.plan and state.run:
        state.data_path, state.data, state.plan, state.decided = None, None, None, {}
    state.tuning = state.tuning or reading.intent in {Intent.tune, Intent.tell}
    if reading.intent is Intent.tune:
        words = f"{state.goal.words} {reading.said}".strip()
        state.goal = state.goal.model_copy(update={"words": words})
    for change in reading.changes:
        state.decided[change.path] = change
    slots: dict[str, Any] = {
        "data": reading.data,
        "model": reading.model,
        "machine": reading.machine,
        "task": reading.task,
        "wish": reading.wish,
        "domain": reading.domain,
        "max_hours": reading.hours,
        "skill": next((c.value for c in reading.changes if c.path == "skill"), None),
    }
    for slot, value in slots.items():
        if value is not None:
            _take(state, slot, value)
    state.unclear = reading.unclear or (None if reading.model else state.unclear)


def _take(state: State, slot: str, value: Any) -> None:
    """Put an answer in its place; what was known of the old one is forgotten."""
    if slot == "data" and value != state.data_path:
        state.data_path, state.data, state.stale = str(value), None, True
    elif slot == "model" and value != state.model_name:
        state.model_name, state.model, state.stale, state.unclear = str(value), None, True, None
    elif slot == "machine" and value != state.machine_words:
        state.machine_words, state.machine, state.stale = str(value), None, True
    elif slot in _GOAL_SLOTS and getattr(state.goal, slot) != value:
        state.goal = Goal.parse({**state.goal.model_dump(exclude_unset=True), slot: value}, "goal")
        state.stale = True
        if slot == "skill":
            state.decided = {p: c for p, c in state.decided.items() if not p.startswith("params.")}


def _learn(state: State, result: ResultEntry, arguments: dict[str, Any]) -> None:
    data = as_map(result.data)
    if not result.ok:
        _learn_failure(state, result, arguments)
    elif result.tool in _LEARNERS:
        _LEARNERS[result.tool](state, data, arguments)


def _learn_failure(state: State, result: ResultEntry, arguments: dict[str, Any]) -> None:
    if result.tool == "inspect_data" and arguments.get("path") == state.data_path:
        state.data_path = None
    elif result.tool == "inspect_model" and arguments.get("model") == state.model_name:
        state.model_name = None
    elif result.tool == "start_run" and result.outcome == "denied":
        state.offer = Offer.start
    elif result.tool == "apply_fix" and result.outcome == "denied":
        state.offer = Offer.apply


def _learn_files(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    state.files = tuple(data.get("files", ()))


def _learn_data(state: State, data: dict[str, Any], arguments: dict[str, Any]) -> None:
    state.data_path = str(arguments.get("path") or data.get("path"))
    state.data = _facts(DataFacts, data, "problems", "samples")


def _learn_model(state: State, data: dict[str, Any], arguments: dict[str, Any]) -> None:
    if state.model_name in {None, arguments.get("model")}:
        state.model_name = str(arguments.get("model") or data.get("source"))
        state.model = _facts(ModelFacts, data, "special")


def _learn_machine(state: State, data: dict[str, Any], arguments: dict[str, Any]) -> None:
    if arguments.get("machine") == state.machine_words:
        state.machine = _facts(Machine, data, "warnings")


def _learn_plan(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    plan = as_map(data.get("plan"))
    earlier = as_rows((state.plan or {}).get("weighed"))
    if not data.get("weighed") and earlier:
        data = {**data, "weighed": earlier}
    for path, change in state.decided.items():
        if change.op != "set":
            state.decided[path] = Change(path=path, value=_leaf(plan, path))
    state.plan, state.offer, state.stale, state.tuning = data, Offer.start, False, True
    state.data_path = state.data_path or as_map(plan.get("data")).get("train")
    state.model_name = state.model_name or as_map(plan.get("model")).get("source")


def _learn_script(state: State, data: dict[str, Any], arguments: dict[str, Any]) -> None:
    if data.get("plan_name"):
        state.script = None
        _learn_plan(state, data, arguments)
        return
    given = {key: value for key, value in arguments.items() if key != "code"}
    state.script, state.tuning = {**given, "script": data.get("script")}, True


def _leaf(plan: dict[str, Any], path: str) -> Any:
    """Return the value at a dotted path."""
    value: Any = plan
    for part in path.split("."):
        value = as_map(value).get(part)
    return value


def _learn_run(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    state.run, state.run_data = str(data.get("name")), data
    halted = data.get("state") in {"halted", "failed"} and data.get("findings")
    resumable = data.get("state") in {"stopped", "failed", "lost"}
    state.offer = Offer.repair if halted else Offer.resume if resumable else Offer.none


def _learn_diagnosis(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    findings = as_rows(data.get("findings"))
    fixable = any(fix.get("safety") != "manual" for f in findings for fix in f.get("fixes", ()))
    if data.get("verdict") == "fault" and fixable:
        state.offer = Offer.repair


def _learn_proposal(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    state.proposal, state.offer = data, Offer.apply
    state.run = str(data.get("run"))


def _learn_cards(state: State, data: dict[str, Any], _arguments: dict[str, Any]) -> None:
    cards = as_rows(data.get("cards"))
    state.card = str(cards[0]["title"]) if cards and data.get("sure") else None


_LEARNERS = {
    "list_files": _learn_files,
    "inspect_data": _learn_data,
    "inspect_model": _learn_model,
    "inspect_machine": _learn_machine,
    "make_plan": _learn_plan,
    "change_plan": _learn_plan,
    "migrate_script": _learn_script,
    "start_run": _learn_run,
    "apply_fix": _learn_run,
    "show_run": _learn_run,
    "stop_run": _learn_run,
    "resume_run": _learn_run,
    "diagnose_run": _learn_diagnosis,
    "propose_fix": _learn_proposal,
    "look_up": _learn_cards,
}


def as_map(value: object) -> dict[str, Any]:
    """Return `value` when it is a mapping, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_rows(value: object) -> list[dict[str, Any]]:
    """Return the mappings of a list; empty when `value` is no list."""
    return cast("list[dict[str, Any]]", value) if isinstance(value, list) else []


def _facts(contract: type[_F], data: dict[str, Any], *texts: str) -> _F | None:
    """Read facts back from a tool's result; fields of sentences were flattened there and are left out."""
    kept = {key: value for key, value in data.items() if key not in texts}
    try:
        return contract.model_validate_json(json.dumps(kept))
    except ValueError:
        return None
