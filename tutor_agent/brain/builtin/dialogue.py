"""The decision: from a conversation and the tools at hand to what the tutor says and does next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.moves import knowing, mending, migrating, planning, running
from tutor_agent.brain.builtin.scene import Decision, Scene
from tutor_agent.brain.builtin.state import Offer, read_state
from tutor_agent.brain.history import NoticeEntry
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tutor_agent.brain.history import Entry
    from tutor_agent.core.text import Language

_MOST_CALLS = 12
"""No intent needs more; a turn that reaches it is ended rather than repeated."""


def decide(
    history: Sequence[Entry], tool_names: Collection[str], language: Language = "en"
) -> Decision:
    """Decide what to say and which tools to use next. Without calls, the turn is over.

    Args:
        history: The conversation so far, ending with a message, an event, or results.
        tool_names: The tools that may be used.
        language: The language until a message shows another one.
    """
    state, turn = read_state(history, language)
    scene = Scene(state, turn, frozenset(tool_names))
    if len(turn.results) >= _MOST_CALLS:
        return scene.end(turn.results[-1].summary)
    if isinstance(turn.opening, NoticeEntry):
        return mending.speak_up(scene)
    if turn.opening is None:
        return scene.end(_LISTENING)
    return _MOVES[turn.reading.intent](scene)


def answer_once(
    history: Sequence[Entry], tool_names: Collection[str], language: Language = "en"
) -> Decision:
    """Answer a single question: like `decide`, but whatever is no question is looked up in the cards."""
    state, turn = read_state(history, language)
    scene = Scene(state, turn, frozenset(tool_names), once=True)
    intent = turn.reading.intent
    return (_MOVES[intent] if intent in _ANSWERED else knowing.ask)(scene)


_ANSWERED = frozenset(
    {
        Intent.greet,
        Intent.thank,
        Intent.help,
        Intent.see_machine,
        Intent.see_model,
        Intent.estimate,
        Intent.trouble,
        Intent.paste,
        Intent.check,
    }
)


def _confirm(scene: Scene) -> Decision:
    """`yes`: to whatever was offered last."""
    agreed = {
        Offer.start: running.start,
        Offer.repair: mending.fix,
        Offer.apply: mending.apply,
        Offer.resume: running.resume,
    }
    offered = _offered(scene)
    if offered in agreed:
        return agreed[offered](scene)
    if scene.state.tuning and scene.state.plan is None:
        return planning.advance(scene)
    return scene.end(_WHAT_NEXT, knowing.where_it_stands(scene))


def _offered(scene: Scene) -> Offer:
    """Return what was on offer when the person spoke: results of this turn have moved it on."""
    done = {result.tool for result in scene.turn.results}
    if "apply_fix" in done or "propose_fix" in done:
        return Offer.apply
    if "start_run" in done:
        return Offer.start
    if "resume_run" in done:
        return Offer.resume
    return scene.state.offer


def _pick(scene: Scene) -> Decision:
    return knowing.pick(scene) or planning.advance(scene)


_MOVES: dict[Intent, Callable[[Scene], Decision]] = {
    Intent.greet: knowing.greet,
    Intent.thank: knowing.thank,
    Intent.help: knowing.help_,
    Intent.confirm: _confirm,
    Intent.decline: knowing.decline,
    Intent.pick: _pick,
    Intent.more: knowing.more,
    Intent.start: running.start,
    Intent.stop: running.stop,
    Intent.resume: running.resume,
    Intent.fix: mending.fix,
    Intent.result: running.result,
    Intent.why: planning.why,
    Intent.status: running.status,
    Intent.list_runs: running.list_runs,
    Intent.compare_runs: running.compare_runs,
    Intent.change: planning.change,
    Intent.see_machine: knowing.see_machine,
    Intent.see_model: knowing.see_model,
    Intent.see_data: knowing.see_data,
    Intent.list_files: knowing.list_files,
    Intent.estimate: planning.estimate,
    Intent.trouble: mending.trouble,
    Intent.paste: mending.read_paste,
    Intent.read_log: mending.read_log,
    Intent.tune: planning.advance,
    Intent.tell: migrating.tell,
    Intent.migrate: migrating.migrate,
    Intent.check: knowing.check,
    Intent.ask: knowing.ask,
}

_LISTENING = Text(en="I am listening.", zh="请讲。")
_WHAT_NEXT = Text(
    en="What shall we do next? Tell me what a model should learn, or ask anything about fine-tuning.",
    zh="接下来做什么？告诉我想让模型学会什么，或者问任何关于微调的问题。",
)
