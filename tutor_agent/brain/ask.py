"""One question, one answer, and the cards it rests on. Needs no LLM library."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin import answer_once, language_of
from tutor_agent.brain.builtin.state import as_map
from tutor_agent.brain.history import CallEntry, Entry, ResultEntry, UserEntry
from tutor_agent.brain.tools import BY_NAME, Desk, Failure, call_tool
from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Language

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.brain.builtin import Decision

_TOOLS = (
    "look_up",
    "diagnose_text",
    "estimate",
    "inspect_model",
    "inspect_machine",
    "check_installation",
)
_ROUNDS = 6


class Answer(Contract):
    """An answer and what it rests on."""

    answer: str
    """The answer in the language of the question."""
    language: Language
    """The language of the question."""
    cards: tuple[str, ...] = ()
    """Ids of the cards or slugs of the faults it was taken from."""
    answered_by: str = "builtin"
    """Who answered."""
    suggestions: tuple[str, ...] = ()
    """Topics that are near, or that come next."""


def ask(question: str, context: Context) -> Answer:
    """Answer from a fault card, a computed figure or a knowledge card; never invent."""
    history: list[Entry] = [UserEntry(words=question)]
    language = language_of(history, context.language)
    desk = Desk(replace(context, language=language), lambda _text: None, question, share_rows=True)
    decision = answer_once(history, _TOOLS, language)
    for _round in range(_ROUNDS):
        if not decision.calls:
            break
        for number, call in enumerate(decision.calls):
            history += _called(desk, f"{len(history)}-{number}", call.tool, call.arguments)
        decision = answer_once(history, _TOOLS, language)
    return _answer(history, decision, language)


def _called(desk: Desk, call: str, tool: str, arguments: dict[str, Any]) -> list[Entry]:
    outcome = call_tool(BY_NAME[tool], desk, arguments)
    asked = CallEntry(call=call, tool=tool, arguments=arguments)
    if isinstance(outcome, Failure):
        failed = ResultEntry(call=call, tool=tool, outcome="failed", summary=outcome.text)
        return [asked, failed]
    return [asked, ResultEntry(call=call, tool=tool, data=outcome.data, summary=outcome.summary)]


def _answer(history: list[Entry], decision: Decision, language: Language) -> Answer:
    given = {e.tool: as_map(e.data) for e in history if isinstance(e, ResultEntry) and e.ok}
    looked = given.get("look_up", {})
    cards: list[dict[str, Any]] = looked.get("cards") or []
    findings: list[dict[str, Any]] = given.get("diagnose_text", {}).get("findings") or []
    sure = bool(looked.get("sure") and cards)
    titles = [str(card["title"]) for card in cards]
    rests_on = [str(card["card"]) for card in cards[:1] if sure]
    rests_on += [str(finding["cause"]) for finding in findings[:1]]
    return Answer(
        answer=decision.text,
        language=language,
        cards=tuple(rests_on),
        suggestions=tuple(titles[1 if sure else 0 :]),
    )
