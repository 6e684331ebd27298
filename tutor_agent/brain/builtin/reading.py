"""Reading one message: what was said, what was pasted, what it wants, and every slot it fills."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tutor_agent.brain.builtin import intents as i
from tutor_agent.brain.builtin.changes import find_changes
from tutor_agent.brain.builtin.code import split_code
from tutor_agent.brain.builtin.examples import nearest_intent
from tutor_agent.brain.builtin.fields import field_in_question
from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.paste import language_of_message, split_paste
from tutor_agent.brain.builtin.places import Place, find_folders, find_places, without
from tutor_agent.brain.builtin.slots import (
    Wish,
    find_domain,
    find_hours,
    find_machine,
    find_model_name,
    find_skill,
    find_task,
    find_wish,
    unclear_model,
)
from tutor_agent.brain.builtin.typos import repaired

if TYPE_CHECKING:
    from tutor_agent.core.changes import Entry
    from tutor_agent.core.plan import Task
    from tutor_agent.core.text import Language

_RUN = re.compile(r"(?<![\w./])(?![\d-]+e?-?\d+(?![\w-]))[a-z0-9][a-z0-9-]*-\d+(?![\w.])")
_PICK = re.compile(
    r"^\s*(?:选|要|用|看|第|option|number|no\.?|#|the)?\s*(?P<n>\d|[一二三四五]|first|second|third|fourth|fifth)\s*(?:个|种|项|号|one)?[.。!！、)）]?\s*$",
    re.I,
)
_LONGEST = 2000
"""Characters of a message that are searched for wishes; what is longer is text to be worked on, not a wish."""
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    **dict(zip("一二三四五", range(1, 6), strict=True)),
}
_OPENING = re.compile(
    r"^\s*(?:你好|你好|嗨|hello|hi|hey|ok|okay|好[的吧]?|行吧?|可以|嗯|那)[\s,，!！。.、]+(?=\S)",
    re.I,
)


@dataclass(frozen=True)
class Known:
    """What of the conversation so far changes how a message is read."""

    language: Language = "en"
    has_plan: bool = False
    has_run: bool = False
    choices: int = 0
    """How many numbered choices were offered."""
    files: tuple[str, ...] = ()
    """Data files of the workspace."""
    tuning: bool = False
    """Whether a plan is being worked towards."""


@dataclass(frozen=True)
class Reading:
    """One message, understood."""

    words: str
    said: str = ""
    pasted: str = ""
    code: str | None = None
    """A training script that was pasted."""
    language: Language = "en"
    intent: Intent = Intent.ask
    question: bool = False
    places: tuple[Place, ...] = ()
    model: str | None = None
    unclear: str | None = None
    """Words that name a family of models, not one of them."""
    machine: str | None = None
    changes: tuple[Entry, ...] = ()
    task: Task | None = None
    skill: str | None = None
    wish: Wish | None = None
    domain: str | None = None
    hours: float | None = None
    plan_field: str | None = None
    """The plan field in question."""
    pick: int | None = None
    runs: tuple[str, ...] = ()

    @property
    def data(self) -> str | None:
        """The data file named in the message."""
        return next((place.path for place in self.places if place.sort == "data"), None)

    @property
    def log(self) -> str | None:
        """The log file or output folder named in the message."""
        return next((place.path for place in self.places if place.sort == "log"), None)

    @property
    def script(self) -> str | None:
        """The script or notebook named in the message."""
        return next(
            (p.path for p in self.places if p.sort == "script" or p.path.endswith(".ipynb")), None
        )

    @property
    def tells(self) -> bool:
        """Whether it says something that a plan depends on."""
        return any(
            (self.data, self.model, self.unclear, self.machine, self.wish, self.hours, self.task)
        )


@functools.lru_cache(maxsize=1024)
def read_message(words: str, known: Known) -> Reading:
    """Understand one message."""
    language = language_of_message(words, known.language)
    if (script := split_code(words)) is not None:
        said = script.said[:_LONGEST]
        places = find_places(said, known.files)
        spoken = Reading(words, said, "", script.code, language, places=tuple(places))
        return replace(_slots(spoken, without(said, places)), intent=Intent.migrate)
    paste = split_paste(words)
    if paste.pasted:
        intent = Intent.paste
        return Reading(words, paste.said, paste.pasted, None, language, intent)
    own = paste.said[:_LONGEST]
    said = own if i.GREET.search(own) else _OPENING.sub("", own)
    places = find_places(said, known.files)
    plain = without(said, places)
    reading = _slots(Reading(words, said, language=language, places=tuple(places)), plain)
    reading = replace(reading, plan_field=_topic(reading))
    return replace(reading, intent=_classify(reading, repaired(plain), known))


def _slots(reading: Reading, plain: str) -> Reading:
    # The name of a run says nothing about a plan, whatever words it is made of.
    rest = _RUN.sub(lambda name: " " * len(name[0]), plain)
    machine = find_machine(rest)
    rest = _blanked(rest, machine)
    model = _model_folder(rest, rooted=True) or find_model_name(rest) or _model_folder(rest)
    rest = _blanked(rest, model)
    mended = repaired(rest)
    hours = find_hours(rest)
    timed = re.sub(r"\d[\d.]*\s*(?:个)?(?:小时|分钟|hours?|minutes?|mins?|h)\b", " ", mended)
    picked = _PICK.match(plain)
    changes = find_changes(timed if hours is not None else mended)
    asked = bool(i.QUESTION.search(plain))
    chosen = next((str(c.value) for c in changes if c.path == "skill"), None)
    return replace(
        reading,
        question=asked,
        model=model[0] if model else None,
        unclear=None if model else unclear_model(rest),
        machine=machine[0] if machine else None,
        changes=changes,
        task=find_task(mended),
        skill=chosen or (find_skill(mended) if asked else None),
        wish=find_wish(mended),
        domain=find_domain(mended),
        hours=hours,
        plan_field=field_in_question(mended),
        pick=_number(picked["n"]) if picked else None,
        runs=tuple(_RUN.findall(plain)),
    )


_TUNED = re.compile(
    r"模型|微调|训练|\b(?:model|weights|checkpoint|tun(?:e|ing)|fine-?tun\w+|train(?:ing)?)\b", re.I
)


def _model_folder(words: str, *, rooted: bool = False) -> tuple[str, tuple[int, int]] | None:
    """Return a folder that is spoken of as a model: nobody tunes a folder of anything else."""
    folders = [f for f in find_folders(words) if not rooted or f.path[0] in "/.~"]
    if not folders or not _TUNED.search(words):
        return None
    return folders[0].path, (folders[0].start, folders[0].end)


def _blanked(words: str, found: tuple[str, tuple[int, int]] | None) -> str:
    if found is None:
        return words
    start, end = found[1]
    return words[:start] + " " * (end - start) + words[end:]


def _number(word: str) -> int:
    return _ORDINALS.get(word.lower()) or int(word)


def _classify(reading: Reading, words: str, known: Known) -> Intent:
    for look in (_short, _looks, _acts, _asks, _states):
        found = look(reading, words, known)
        if found is not None:
            return found
    near = nearest_intent(words)
    return near if near is not None and _is_possible(near, reading, known) else Intent.ask


def _is_possible(intent: Intent, reading: Reading, known: Known) -> bool:
    """Whether an intent guessed by example has what it needs."""
    needs_run = {Intent.stop, Intent.resume, Intent.fix, Intent.result, Intent.status}
    if _REFUSED.search(reading.said) and intent is not Intent.trouble:
        return intent in {Intent.stop, Intent.decline}
    if intent in needs_run:
        return known.has_run
    if intent is Intent.start:
        return known.has_plan and not reading.question
    return intent is not Intent.compare_runs or known.has_run


def _first(table: tuple[tuple[Intent, bool], ...]) -> Intent | None:
    return next((intent for intent, applies in table if applies), None)


def _short(reading: Reading, words: str, known: Known) -> Intent | None:
    """Messages that are one phrase."""
    picks = reading.pick is not None and 1 <= reading.pick <= known.choices
    return _first(
        (
            (Intent.pick, picks),
            (Intent.greet, bool(i.GREET.search(words))),
            (Intent.thank, bool(i.THANK.search(words))),
            (Intent.more, bool(i.MORE.search(words))),
            (Intent.confirm, bool(i.CONFIRM.search(words))),
            (Intent.decline, bool(i.DECLINE.search(words))),
            (Intent.help, bool(i.HELP.search(words)) and not reading.tells),
            (Intent.check, bool(i.CHECK.search(words))),
        )
    )


def _looks(reading: Reading, words: str, known: Known) -> Intent | None:
    """A log to be read, two runs to be compared, a reason to be given."""
    why = bool(i.WHY.search(words)) and reading.plan_field is not None
    troubled = bool(i.TROUBLE.search(words)) and reading.plan_field in {None, "task"}
    return _first(
        (
            (Intent.migrate, _is_migration(reading)),
            (Intent.read_log, reading.log is not None),
            (Intent.compare_runs, len(reading.runs) >= 2 and bool(i.COMPARE.search(words))),
            (Intent.why, why and not troubled and (known.has_plan or known.has_run)),
        )
    )


def _is_migration(reading: Reading) -> bool:
    """Whether a script is to be read: it is named without other trouble, or is said to be old."""
    said = reading.said
    if reading.script is None:
        asked = reading.question and not i.POLITE.search(said)
        return bool(i.MIGRATION.search(said)) and not asked
    notebook = reading.script.endswith(".ipynb")
    return bool(i.MIGRATE.search(said)) or not (notebook or i.TROUBLE.search(said))


def _topic(reading: Reading) -> str | None:
    """The plan field a reason is asked for: named, or known by its unit as in `为什么是 3 轮`."""
    counted = next((c.path for c in reading.changes), None)
    return reading.plan_field or counted


_REFUSED = re.compile(
    r"(?:不要|先别|别|先不|不)再?(?:启动|开始|停|修)|\b(?:don'?t|do not|never) (?:start|stop|fix|run|resume)\b",
    re.I,
)


def _acts(reading: Reading, words: str, known: Known) -> Intent | None:
    """Wishes for something to be done; a question is not one unless it is a polite request."""
    computes = bool(i.ESTIMATE.search(words) and (reading.machine or reading.model or sizes(words)))
    asked = reading.question and (computes or not i.POLITE.search(words))
    wants = not asked and not i.WHY.search(words)
    negated = bool(_REFUSED.search(words))
    tunes = bool(i.TUNE.search(words))
    alters = bool(reading.changes or reading.tells)
    changes = bool(reading.changes) and (known.has_plan or known.tuning or not tunes)
    return _first(
        (
            (Intent.decline, wants and negated and not alters),
            (
                Intent.fix,
                wants and not negated and bool(i.FIX.search(words)) and not reading.changes,
            ),
            (Intent.resume, wants and not negated and bool(i.RESUME.search(words)) and not tunes),
            (
                Intent.stop,
                wants and not negated and bool(i.STOP.search(words)) and not reading.changes,
            ),
            (Intent.change, wants and changes and not _is_trouble(words)),
            (Intent.start, wants and not negated and bool(i.START.search(words)) and not alters),
        )
    )


def _is_trouble(words: str) -> bool:
    return bool(i.TROUBLE.search(words)) and not re.search(
        r"改|调|设|换|用|set|change|use|make", words, re.I
    )


def _asks(reading: Reading, words: str, known: Known) -> Intent | None:
    """Questions about runs, machines, models, data, memory."""
    defines = bool(i.DEFINING.search(words))
    sized = re.search(r"\d+(?:\.\d+)?\s*[bB](?![A-Za-z])", words) is not None
    subject = bool(reading.model or sized or reading.unclear or (known.has_plan and not defines))
    memory = re.search(r"显存|内存|\b(?:memory|vram)\b", words, re.I)
    asked = reading.question or bool(memory) or not i.TUNE.search(words)
    own = bool(i.OWN_MACHINE.search(words) and re.search(r"显存|卡|gpu|vram|memory", words, re.I))
    owns = own and not (reading.model or sized)
    tells_machine = reading.machine is not None and not reading.question
    about_run = known.has_run or bool(reading.runs)
    ails = about_run and bool(i.WRONG.search(words)) and not reading.changes
    return _first(
        (
            (Intent.trouble, ails),
            (
                Intent.result,
                bool(i.RESULT.search(words))
                and (known.has_run or not defines)
                and not reading.changes,
            ),
            (
                Intent.status,
                bool(i.STATUS.search(words)) and (known.has_run or not (subject or defines)),
            ),
            (Intent.list_runs, bool(i.LIST_RUNS.search(words))),
            (Intent.list_files, bool(i.LIST_FILES.search(words))),
            (Intent.see_data, bool(reading.data) and bool(i.SEE_DATA.search(words)) and asked),
            (Intent.see_machine, owns and asked),
            (Intent.estimate, bool(i.ESTIMATE.search(words)) and subject and asked),
            (Intent.see_machine, bool(i.SEE_MACHINE.search(words)) and not tells_machine),
            (
                Intent.see_model,
                bool(reading.model)
                and bool(i.SEE_MODEL.search(words))
                and asked
                and not reading.skill,
            ),
        )
    )


def _states(reading: Reading, words: str, known: Known) -> Intent | None:
    """Statements: something is wrong, something is wanted, something is known."""
    asked = reading.question and not i.POLITE.search(words)
    defines = bool(i.DEFINING.search(words))
    return _first(
        (
            (Intent.trouble, bool(i.TROUBLE.search(words)) and not defines),
            (Intent.tune, bool(i.TUNE.search(words)) and not asked and not defines),
            (Intent.tell, reading.tells and not asked and not defines),
            (Intent.tell, known.tuning and bool(find_folders(reading.said)) and not asked),
        )
    )


def sizes(words: str) -> str | None:
    """Return a bare model size such as `7B` in the words."""
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)\s*[bB](?![A-Za-z])", words)
    return f"{match[1]}b" if match else None
