"""Moves when something is wrong: read what was pasted, examine a run, repair it, speak up by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.moves.knowing import answer_from_cards, quoted
from tutor_agent.brain.builtin.moves.running import ASK_REPAIR, result
from tutor_agent.brain.builtin.scene import Call, Decision, bullets
from tutor_agent.brain.builtin.state import Offer
from tutor_agent.brain.history import NoticeEntry
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.brain.builtin.scene import Scene


def read_paste(scene: Scene) -> Decision:
    """Name the fault in what was pasted; a line inside a question is a symptom more than a log."""
    if scene.reading.said == scene.reading.pasted:
        return symptom(scene)
    done = scene.result("diagnose_text")
    if done is None:
        reading = scene.reading
        return scene.use("diagnose_text", words=reading.pasted, symptom=reading.said or None)
    data = scene.data("diagnose_text")
    if done.ok and data.get("verdict") == "unknown" and scene.reading.said:
        return answer_from_cards(scene, before=[done.summary])
    return scene.end(*diagnosis(scene, data) if done.ok else [done.summary])


def read_log(scene: Scene) -> Decision:
    """Name the fault in a log file."""
    done = scene.result("diagnose_file")
    if done is None:
        return scene.use("diagnose_file", path=scene.reading.log, symptom=scene.reading.said)
    return scene.end(*diagnosis(scene, scene.data("diagnose_file")) if done.ok else [done.summary])


def trouble(scene: Scene) -> Decision:
    """Something is wrong: examine the run it may be about, then the words themselves, then the cards."""
    examined = scene.result("diagnose_run")
    run = next(iter(scene.reading.runs), scene.state.run)
    if run and examined is None and scene.result("diagnose_text") is None:
        return scene.use("diagnose_run", run=run)
    if examined and examined.ok and scene.data("diagnose_run").get("verdict") == "fault":
        offer = ASK_REPAIR if scene.state.offer is Offer.repair else None
        return scene.end(*diagnosis(scene, scene.data("diagnose_run")), offer)
    healthy = examined.summary if examined and examined.ok else None
    return symptom(scene, before=[healthy])


def symptom(scene: Scene, before: Sequence[Text | str | None] = ()) -> Decision:
    """Trouble described in words: the card on it, with the fault it most likely is."""
    read, looked = scene.result("diagnose_text"), scene.result("look_up")
    if read is None and looked is None:
        words = scene.reading.said
        calls = (Call("diagnose_text", {"words": words}), Call("look_up", {"question": words}))
        return Decision(calls=tuple(call for call in calls if call.tool in scene.tools))
    verdict, known = scene.data("diagnose_text"), scene.data("look_up")
    faulty = verdict.get("verdict") == "fault"
    if known.get("sure"):
        likely = _likely(scene, verdict) if faulty else []
        return scene.end(*before, *quoted(scene, known["cards"]), *likely)
    if faulty:
        return scene.end(*before, *diagnosis(scene, verdict))
    return answer_from_cards(scene, before)


def _likely(scene: Scene, verdict: dict[str, Any]) -> list[Text | str]:
    first = verdict["findings"][0]
    fixes = [fix["title"] for fix in first.get("fixes", ())]
    head = _LIKELY.format(
        title=str(first["title"]).rstrip(".。"),
        cause=first["cause"],
        sure=round(first["confidence"] * 100),
    )
    return [head, scene.say(_WAYS_OUT, bullets(fixes))] if fixes else [head]


def fix(scene: Scene) -> Decision:
    """Work out a repair, show it, and apply it once it is agreed to."""
    applied = scene.result("apply_fix")
    if applied is not None:
        if applied.outcome == "denied":
            return scene.end(_LEFT_ALONE)
        return scene.end(applied.summary, _REPAIRED if applied.ok else None)
    proposed = scene.result("propose_fix")
    if proposed is None:
        runs = scene.reading.runs
        return scene.use("propose_fix", run=runs[0] if runs else scene.state.run)
    if not proposed.ok:
        return scene.end(proposed.summary)
    data = scene.data("propose_fix")
    chosen: dict[str, Any] = data.get("fix", {})
    return scene.use(
        "apply_fix",
        proposed.summary,
        run=data.get("run"),
        cause=data.get("cause"),
        fix=chosen.get("id"),
    )


def apply(scene: Scene) -> Decision:
    """Agree to the repair that was shown."""
    proposal = scene.state.proposal
    if scene.result("apply_fix") is not None or proposal is None or scene.result("propose_fix"):
        return fix(scene)
    return scene.use(
        "apply_fix",
        run=proposal.get("run"),
        cause=proposal.get("cause"),
        fix=proposal.get("fix", {}).get("id"),
    )


def speak_up(scene: Scene) -> Decision:
    """A run changed while nobody was talking: say so, and what could be done."""
    notice = scene.turn.opening
    if not isinstance(notice, NoticeEntry):
        return scene.end()
    if notice.happened == "repaired":
        return scene.end(notice.text, _REPAIRED)
    if notice.happened == "completed":
        return result(scene)
    if notice.happened == "stopped" or (notice.happened == "failed" and notice.cause is None):
        return scene.end(notice.text, _RESUMABLE)
    if notice.happened == "lost":
        return scene.end(notice.text, _LOST)
    return _propose(scene, notice)


def _propose(scene: Scene, notice: NoticeEntry) -> Decision:
    proposed = scene.result("propose_fix")
    if proposed is None:
        return scene.use("propose_fix", notice.text, run=notice.run, cause=notice.cause)
    if proposed.ok:
        data = scene.data("propose_fix")
        told = data.get("story") or list(data.get("finding", {}).get("evidence", ()))[:3]
        return scene.end(bullets(told) if told else None, proposed.summary, _SHALL_I)
    examined = scene.result("diagnose_run")
    if examined is None:
        return scene.use("diagnose_run", run=notice.run)
    found = diagnosis(scene, scene.data("diagnose_run")) if examined.ok else [examined.summary]
    return scene.end(*found)


def diagnosis(scene: Scene, data: dict[str, Any]) -> list[Text | str | None]:
    """Say a verdict: the fault, what speaks for and against it, the ways out, what else it could be."""
    findings: list[dict[str, Any]] = data.get("findings") or []
    note = data.get("note")
    if data.get("verdict") == "healthy":
        return [_HEALTHY, note]
    if not findings:
        return [_UNKNOWN, note]
    first, rest = findings[0], findings[1:3]
    if not scene.once:
        return _in_short(first, rest)
    fixes = [fix["title"] for fix in first.get("fixes", ())]
    others = [f"{f['title']} ({round(f['confidence'] * 100)}%)" for f in rest]
    sure = round(first["confidence"] * 100)
    return [
        f"**{first['title']}** ({sure}%, `{first['cause']}`)",
        bullets(first.get("evidence") or []),
        scene.say(_AGAINST, bullets(first["against"])) if first.get("against") else None,
        scene.say(_STORY, bullets(data["story"])) if data.get("story") else None,
        scene.say(_WAYS_OUT, bullets(fixes)) if fixes else None,
        scene.say(_COULD_ALSO, bullets(others)) if others else None,
        note,
    ]


def _in_short(first: dict[str, Any], rest: list[dict[str, Any]]) -> list[Text | str | None]:
    """Say the fault and the first thing to do: evidence and all ways out stand beside the words."""
    fixes = [str(fix["title"]).rstrip("。.") for fix in first.get("fixes", ())]
    title, sure = str(first["title"]).rstrip("。."), round(first["confidence"] * 100)
    said = _LIKELIEST.format(title=title, sure=sure, cause=first["cause"])
    open_yet = bool(rest) and first["confidence"] < _SETTLED
    return [
        said,
        _TRY_FIRST.format(fix=fixes[0]) if fixes else None,
        _NOT_SETTLED if open_yet else None,
    ]


_SETTLED = 0.75
_LIKELIEST = Text(
    en="**{title}** ({sure}% sure, `{cause}`).", zh="**{title}**（把握 {sure}%，`{cause}`）。"
)
_TRY_FIRST = Text(en="The first thing to try: {fix}.", zh="先试这个：{fix}。")
_NOT_SETTLED = Text(
    en="It is not settled yet: the diagnosis names what else it could be and what tells them apart.",
    zh="还不能完全确定：诊断里列出了另外的可能，以及怎样区分。",
)
_HEALTHY = Text(en="Nothing is wrong here.", zh="这里没有问题。")
_UNKNOWN = Text(
    en="I recognise no known fault in this. A few more lines of the log, before the error, would help.",
    zh="没有认出已知的故障。如果能多贴几行报错之前的日志，会更容易判断。",
)
_LIKELY = Text(
    en="From these words the likeliest fault is: {title} (`{cause}`, {sure} %). The log around it would make me surer.",
    zh="就这句描述来看，最可能的故障是：{title}（`{cause}`，{sure}%）。贴上前后的日志会更有把握。",
)
_STORY = Text(en="How it came about:", zh="事情经过：")
_AGAINST = Text(en="Against it:", zh="不支持这个判断的迹象：")
_WAYS_OUT = Text(en="Ways out:", zh="解决办法：")
_COULD_ALSO = Text(en="It could also be:", zh="也有可能是：")
_LEFT_ALONE = Text(
    en="All right, the run stays as it is. Tell me what you would rather change.",
    zh="好的，运行保持原样。想怎么改可以告诉我。",
)
_REPAIRED = Text(
    en="I watch whether the fault is gone, and tell you.",
    zh="我会盯着故障是否消失，有结果就告诉你。",
)
_SHALL_I = Text(en="Shall I repair it this way?", zh="要我这样修复吗？")
_RESUMABLE = Text(
    en="Say *resume* to go on from its checkpoint.", zh="说“继续训练”就能从检查点接着跑。"
)
_LOST = Text(
    en="Its processes are gone. Say *resume* to go on from the last good checkpoint.",
    zh="它的进程不见了。说“继续训练”，可以从最近一个完好的检查点接着跑。",
)
