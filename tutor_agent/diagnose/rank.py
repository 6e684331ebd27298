"""Causes compete on evidence: every card gathers what speaks for it and what speaks against it.

Signs of one card add up as independent hints (a noisy-or); each sign against takes its share away.
`healthy` wins only over weaker faults, and where nothing reaches the threshold the answer is
`unknown`, with the next cheapest probe.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tutor_agent.core.changes import Entry, PlanChange
from tutor_agent.core.findings import Diagnosis, Finding, Fix
from tutor_agent.core.redact import redact
from tutor_agent.core.text import Text, detect_language
from tutor_agent.diagnose.evidence import distinct
from tutor_agent.diagnose.faults import load_faults, named_faults
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.readers.settings import flatten
from tutor_agent.diagnose.signs import Held, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tutor_agent.core.text import Language
    from tutor_agent.diagnose.faults import CardFix, Fault
    from tutor_agent.diagnose.observations import Observations

THRESHOLD = 0.3
"""Below this a card is not named, unless it is all there is."""
LEANING = 0.16
"""Below this nothing is named at all."""
_MOST, _LEANINGS = 5, 3
_TOLD_DOUBT, _TOLD_SURELY = 0.4, 0.5
_TIE = 0.6
_UNSURE = 0.75
"""Below this the first place is open: weaker candidates are shown beside it."""
_SURE = 0.97


@dataclass(frozen=True, slots=True)
class Candidate:
    """A card that has something going for it."""

    fault: Fault
    confidence: float
    held: tuple[Held, ...]
    against: tuple[Held, ...]


def diagnose(
    observations: Observations,
    *,
    symptom: str = "",
    config: Mapping[str, Any] | None = None,
    language: Language | None = None,
) -> Diagnosis:
    """Name what went wrong, or say that it is healthy or unknown."""
    scene = Scene(complete(observations, symptom, config))
    seen = scene.seen
    spoken = language or detect_language(seen.symptom or seen.words)
    ranked = ordered([weighed for f in load_faults() if (weighed := weigh(f, scene))])
    named = winners(ranked, seen)
    if not named:
        return Diagnosis(verdict="unknown", language=spoken, note=_unknown_note(seen))
    probe = settling_probe(named[0], ranked)
    if named[0].fault.kind == "healthy":
        return Diagnosis(verdict="healthy", language=spoken, note=_healthy_note(named[0], probe))
    findings = tuple(finding_of(c, scene) for c in named)
    return Diagnosis(verdict="fault", language=spoken, findings=findings, note=probe)


def complete(
    seen: Observations, symptom: str = "", config: Mapping[str, Any] | None = None
) -> Observations:
    """Add what a person says and the settings to what a log shows."""
    seen.symptom = symptom or seen.symptom
    if not seen.series:
        seen.series = read_text(seen.symptom).series
    seen.config = {**seen.config, **flatten(config or {})}
    return seen


def winners(ranked: list[Candidate], seen: Observations) -> list[Candidate]:
    """Return the faults to name, best first, or the healthy pattern alone that explains more than they do."""
    leaning = [c for c in ranked if c.confidence >= LEANING]
    kept = [c for c in leaning if c.confidence >= THRESHOLD]
    if not kept or kept[0].confidence < _UNSURE:
        kept = leaning[: max(_LEANINGS, len(kept))]
    # A run that the guard had to stop may be hard to read; in order it is not.
    stopped = seen.halted is not None and seen.halted.payload.get("reason") != "stop_requested"
    in_order = not (stopped or seen.failed)
    healthy = [c for c in kept if c.fault.kind == "healthy" and in_order]
    faults = [c for c in kept if c.fault.kind == "fault"]
    if healthy and (not faults or _together(healthy, faults[0]) >= faults[0].confidence):
        return healthy[:1]
    return faults[:_MOST]


def _together(healthy: list[Candidate], fault: Candidate) -> float:
    """Return how likely the run is healthy: patterns do not exclude each other, so a second one adds to the first.

    It adds only where nothing speaks against either, and where the fault rests on words alone.
    """
    undisputed = [c for c in healthy if not c.against][:2]
    spoken = all(one.spoken or one.supporting for one in fault.held)
    agreeing = undisputed if spoken and healthy[:1] == undisputed[:1] else healthy[:1]
    return 1 - math.prod(1 - c.confidence for c in agreeing)


def candidates(
    scene: Scene, slugs: Iterable[str] | None = None, *, least: float = THRESHOLD
) -> list[Candidate]:
    """Return the cards that reach `least`, best first; `slugs` limits who may compete."""
    known = load_faults() if slugs is None else named_faults(set(slugs))
    weighed = [candidate for fault in known if (candidate := weigh(fault, scene)) is not None]
    return [candidate for candidate in ordered(weighed) if candidate.confidence >= least]


def ordered(weighed: list[Candidate]) -> list[Candidate]:
    """Let the cards compete and return them, best first."""
    return sorted(explained_away(weighed), key=lambda c: (-c.confidence, c.fault.slug))


def explained_away(weighed: list[Candidate]) -> list[Candidate]:
    """Lower what rests on words alone where a message of the log names another fault.

    What that fault is confused with may be the cause behind the message, and is left as it is.
    """
    told = [
        c
        for c in weighed
        if c.fault.kind == "fault" and c.confidence >= _TOLD_SURELY and any(h.told for h in c.held)
    ]
    if not told:
        return weighed
    first = max(told, key=lambda c: c.confidence).fault
    behind = {first.slug, *(other.slug for other in first.confused_with)}
    names = first.slug
    doubt = Held(
        _TOLD_DOUBT,
        Text(en=f"a message of the log names {names}", zh=f"日志里的报错指向 {names}"),
        supporting=False,
    )
    return [
        replace(c, confidence=c.confidence * (1 - doubt.weight), against=(*c.against, doubt))
        if c.fault.slug not in behind and all(one.spoken or one.supporting for one in c.held)
        else c
        for c in weighed
    ]


def weigh(fault: Fault, scene: Scene) -> Candidate | None:
    """Return the card with its evidence; None when nothing but settings speaks for it."""
    held = scene.holding(fault.signs)
    known = (scene.reported(fault.slug), scene.resembling(fault.slug))
    held += [sign for sign in known if sign is not None]
    if all(one.supporting for one in held):
        return None
    against = scene.holding(fault.against)
    doubt = math.prod(1 - one.weight for one in held)
    confidence = min(_SURE, (1 - doubt) * math.prod(1 - one.weight for one in against))
    strongest = sorted(held, key=lambda one: -one.weight)
    return Candidate(fault, confidence, tuple(strongest), tuple(against))


def finding_of(candidate: Candidate, scene: Scene) -> Finding:
    """Turn a card with its evidence into a finding."""
    seen, fault = scene.seen, candidate.fault
    step = scene.value("step_bad(loss)")
    if math.isnan(step):
        step = float(seen.halted.step) if seen.halted else scene.value("step(loss)")
    values = {key: value for one in candidate.held for key, value in one.values.items()}
    return Finding(
        cause=fault.slug,
        title=fault.title,
        severity=fault.severity,
        confidence=round(candidate.confidence, 3),
        evidence=distinct(_clean(one.evidence) for one in candidate.held),
        against=tuple(_clean(one.evidence) for one in candidate.against),
        fixes=tuple(fix for c in fault.fixes if (fix := fix_of(c, scene, values)) is not None),
        step=None if math.isnan(step) else int(step),
    )


def fix_of(card: CardFix, scene: Scene, values: Mapping[str, object] | None = None) -> Fix | None:
    """Fill in the figures of a fix; None when it does not apply here."""
    known = values or {}
    if (card.when and not scene.value(card.when)) or not known.keys() >= set(card.needs):
        return None
    entries = [_filled(entry, scene) for entry in card.change.entries]
    return Fix(
        id=card.id,
        safety=card.safety,
        title=scene.fill(card.title, known),
        change=PlanChange(entries=tuple(entries)),
        resume=card.resume,
    )


def _filled(entry: Entry, scene: Scene) -> Entry:
    value = entry.value
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        figure = scene.value(value[1:-1])
        figure = int(figure) if figure == int(figure) else figure
        return Entry(path=entry.path, op=entry.op, value=figure)
    return entry


def _clean(text: Text) -> Text:
    return Text(en=redact(text.en), zh=redact(text.zh))


def _healthy_note(candidate: Candidate, probe: Text | None) -> Text:
    title, shown = candidate.fault.title, candidate.held[0].evidence
    told = Text(en=f"{title.en}. {shown.en}", zh=f"{title.zh}。{shown.zh}")
    return told if probe is None else Text(en=f"{told.en}. {probe.en}", zh=f"{told.zh}。{probe.zh}")


def settling_probe(first: Candidate, ranked: Iterable[Candidate]) -> Text | None:
    """Return the one question or probe that settles a tie for the first place; None where there is none.

    Another card counts as tied from 0.6 of the first one's confidence on. What a card says of a tied
    one comes first, then what makes sure of the first card itself.
    """
    tied = [c for c in ranked if c is not first and c.confidence >= _TIE * first.confidence]
    for rival in tied:
        for one, other in ((first, rival), (rival, first)):
            for confusion in one.fault.confused_with:
                if confusion.slug == other.fault.slug:
                    names, probe = (first.fault.slug, rival.fault.slug), confusion.probe
                    return Text(
                        en=f"To tell {names[0]} from {names[1]}: {probe.en}",
                        zh=f"区分 {names[0]} 与 {names[1]}：{probe.zh}",
                    )
    return _making_sure(first.fault) if tied else None


def _making_sure(fault: Fault) -> Text | None:
    """Return the first sentences of what the card says on how to be sure."""
    parts = [_section(fault.body.en, "How to be sure"), _section(fault.body.zh, "如何确认")]
    if not all(parts):
        return None
    return Text(en=f"To be sure of {fault.slug}: {parts[0]}", zh=f"确认 {fault.slug}：{parts[1]}")


def _section(body: str, heading: str) -> str:
    match = re.search(rf"^## {re.escape(heading)}\n+(?P<text>[^\n]+)", body, re.MULTILINE)
    return match["text"].strip() if match else ""


def _unknown_note(seen: Observations) -> Text:
    names = ", ".join(sorted(seen.series)) or "none"
    if seen.error:
        return Text(
            en=f"Read {len(seen.lines)} lines; the last error is “{redact(seen.error[:160])}”, which matches no "
            "known fault. Add the lines above it, and the versions of transformers, torch and peft.",
            zh=f"读到 {len(seen.lines)} 行；最后的报错是“{redact(seen.error[:160])}”，与已知故障都不符。"
            "请补充它上方的几十行，以及 transformers、torch、peft 的版本。",
        )
    return Text(
        en=f"Read {len(seen.lines)} lines with these metrics: {names}. Nothing points to a known fault. Give at "
        "least 20 lines with loss and grad_norm, or say what you expected and what happened.",
        zh=f"读到 {len(seen.lines)} 行，指标有：{names}。没有迹象指向已知故障。请给出至少 20 行带 loss 和 grad_norm "
        "的日志，或说明预期是什么、实际发生了什么。",
    )
