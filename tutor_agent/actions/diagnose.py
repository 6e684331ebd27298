"""Say what went wrong: in a sentence, a log, a folder, or one of our runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tutor_agent.actions.runs import show_run
from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.text import Text, detect_language
from tutor_agent.diagnose import rank
from tutor_agent.diagnose.faults import find_fault
from tutor_agent.diagnose.readers import read_path, read_text
from tutor_agent.diagnose.readers.endings import ending_of
from tutor_agent.diagnose.readers.folders import runs_in
from tutor_agent.runs.folder import RunFolder
from tutor_agent.runs.observe import observe

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.findings import Diagnosis
    from tutor_agent.diagnose.faults import Fault
    from tutor_agent.diagnose.observations import Observations


def diagnose_text(context: Context, words: str, symptom: str = "") -> Diagnosis:
    """Diagnose pasted text: a log, a traceback, or a sentence that describes the trouble."""
    language = detect_language(symptom or words) if (symptom or words) else context.language
    seen = read_text(words)
    return with_ending(rank.diagnose(seen, symptom=symptom, language=language), seen)


def diagnose_path(
    context: Context, path: str, symptom: str = "", config: str | None = None
) -> Diagnosis:
    """Diagnose a log file, or a folder that a training tool wrote, of any tool.

    Raises:
        NotFoundError: Nothing at `path`.
    """
    place = (context.workspace / Path(path).expanduser()).resolve()
    if not place.exists():
        raise NotFoundError(
            f"Nothing at {str(place)!r}. Give a log file or an output folder, or `-` to paste.",
            f"{str(place)!r} 不存在。请给出日志文件或输出文件夹，或用 `-` 粘贴。",
        )
    language = detect_language(symptom) if symptom else context.language
    seen = read_path(place)
    found = rank.diagnose(seen, symptom=symptom, config=_config(context, config), language=language)
    return _with_place(with_ending(found, seen), place)


def _with_place(found: Diagnosis, place: Path) -> Diagnosis:
    """Say which run was read when a folder holds several."""
    runs = runs_in(place) if place.is_dir() else []
    if len(runs) < 2:
        return found
    count, newest = len(runs), runs[0].home
    told = Text(
        en=f"The folder holds {count} runs; this is about the newest, {newest}.",
        zh=f"该文件夹中有 {count} 次运行；以上针对最新的一次：{newest}。",
    )
    note = found.note
    joined = Text(en=f"{told.en} {note.en}", zh=f"{told.zh}{note.zh}") if note else told
    return found.model_copy(update={"note": joined})


def with_ending(found: Diagnosis, seen: Observations) -> Diagnosis:
    """Add to a diagnosis who else ended the run: a scheduler, a signal, a person."""
    ending = ending_of(seen.lines, failed=found.verdict == "fault")
    if ending is None:
        return found
    kept = found.note if found.verdict == "fault" else None
    note = ending if kept is None else Text(en=f"{ending.en} {kept.en}", zh=f"{ending.zh}{kept.zh}")
    return found.model_copy(update={"note": note})


def diagnose_run(context: Context, run: str | None = None) -> Diagnosis:
    """Diagnose one of our runs from its events, its plan and its logs."""
    view = show_run(context, run)
    found = rank.diagnose(observe(RunFolder(Path(view.path))), language=context.language)
    return found.model_copy(update={"story": view.story})


def explain_fault(slug: str) -> Fault:
    """Return the card of a fault.

    Raises:
        NotFoundError: No such fault; near names are offered.
    """
    return find_fault(slug)


def _config(context: Context, name: str | None) -> dict[str, object] | None:
    if name is None:
        return None
    path = context.file(name)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"{path} is neither YAML nor JSON: {error}.", f"{path} 不是 YAML 或 JSON：{error}。"
        ) from None
    return data if isinstance(data, dict) else {}  # pyright: ignore[reportUnknownVariableType]
