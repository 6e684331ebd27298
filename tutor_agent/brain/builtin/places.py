"""Files that a person names: quoted, with spaces, `@file`, or in the middle of a Chinese sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_DATA = r"(?:csv|tsv|jsonl|json|parquet)"
_LOGS = r"(?:log|out|err|txt|ipynb)"
_SCRIPTS = r"(?:py)"
_ENDING = re.compile(
    rf"\.(?:(?P<data>{_DATA})|(?P<log>{_LOGS})|(?P<script>{_SCRIPTS})|(?P<plan>ya?ml))$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”「『`']([^\"“”」』`'\n]+?)[\"“”」』`']")
_AT = re.compile(r"(?<![\w.])@([^\s，。；！？,;!?]+)")
# A path may hold spaces, but not these words: they lead to the next thing that is named.
_BETWEEN = r"\s(?:with|and|on|using|for|to|from|by)\s"
_ROOTED = re.compile(
    rf"(?<![\w.~])(?:~|\.{{1,2}})?/(?:(?!{_BETWEEN})[^\n\"'，。；！？,;])*?\.(?:{_DATA}|{_LOGS}|{_SCRIPTS})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"[^\s\"'，。；：！？（）“”、,;:!?()<>|=]+\.(?:{_DATA}|{_LOGS}|{_SCRIPTS})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_FOLDER = re.compile(
    r"(?<![\w.:/])(?:~|\.{1,2})?/[\w./\-\u3400-\u9fff]+|(?<![\w/.])(?:[\w\-]+/){1,}[\w.\-]*"
)
_LEAD = re.compile(
    r"^(?:请|帮我|我想|我要|想|可以|麻烦|就|先|再|用的?是?|使用|基于|拿|把|将|在|看看|看一下|看|读取|读|检查|分析|查看|诊断|打开|根据|对|从|给|"
    r"数据文件|训练数据|数据集|日志文件|训练脚本|旧脚本|老脚本|脚本|代码|旧|老|数据|文件|日志|路径|名字|名|叫做?|就?是|为|我的|我有|有|一个|这个|那个|这份|一份|里的|的|微调|训练|换成|改成|改用|换)"
)

Sort = Literal["data", "log", "script", "plan", "folder"]
_SORTS: tuple[Literal["data", "log", "script", "plan"], ...] = ("data", "log", "script", "plan")


@dataclass(frozen=True)
class Place:
    """A file or folder named in a sentence."""

    path: str
    sort: Sort
    start: int
    end: int


def find_places(words: str, known: tuple[str, ...] = ()) -> list[Place]:
    """Return the files named in `words`, in order; `known` files are recognised by their bare name."""
    taken = words
    found: list[Place] = []
    for pattern, group in ((_AT, 1), (_QUOTED, 1), (_ROOTED, 0), (_BARE, 0)):
        for match in pattern.finditer(taken):
            place = _place(
                match[group], match.start(group), match.end(group), bare=pattern is _BARE
            )
            if place is not None:
                found.append(place)
                taken = _blank(taken, place.start, place.end)
    found += _known_names(taken, known)
    return sorted(found, key=lambda place: place.start)


def find_folders(words: str) -> list[Place]:
    """Return what looks like a folder: a rooted path, or names joined by slashes."""
    return [Place(m[0].rstrip("./"), "folder", m.start(), m.end()) for m in _FOLDER.finditer(words)]


def without(words: str, places: list[Place]) -> str:
    """Return `words` with the places blanked out, so that no number is read from a file name."""
    for place in places:
        words = _blank(words, place.start, place.end)
    return words


def _blank(words: str, start: int, end: int) -> str:
    return words[:start] + " " * (end - start) + words[end:]


def _place(path: str, start: int, end: int, *, bare: bool) -> Place | None:
    if bare:
        cut = _leading(path)
        path, start = path[cut:], start + cut
    ending = _ENDING.search(path)
    if ending is None or not path.strip():
        return None
    sort: Sort = next(sort for sort in _SORTS if ending[sort])
    if "trainer_state.json" in path or "trainer_log.jsonl" in path:
        sort = "log"
    return Place(path.strip(), sort, start, end)


def _leading(path: str) -> int:
    """Return how many leading characters are words of the sentence: `用客服.csv` names `客服.csv`."""
    cut = 0
    rooted = re.search(r"[A-Za-z0-9_.~/\-]+$", path)
    while (match := _LEAD.match(path[cut:])) and _ENDING.search(path[cut + match.end() :]):
        rest = path[cut + match.end() :]
        if rest.startswith("."):
            break
        cut += match.end()
    if rooted and rooted.start() > cut and not re.search(r"[_\-/]", path[cut : rooted.start()]):
        head = path[cut : rooted.start()]
        if "/" in path[rooted.start() :] or re.search(r"[是用在叫看把为]$", head):
            return rooted.start()
    return cut


def _known_names(words: str, known: tuple[str, ...]) -> list[Place]:
    found: list[Place] = []
    for path in known:
        for name in {path, path.rsplit("/", 1)[-1], path.rsplit("/", 1)[-1].rsplit(".", 1)[0]}:
            match = re.search(rf"(?<![\w./]){re.escape(name)}(?![\w.])", words, re.ASCII)
            if match and len(name) >= 3:
                found.append(Place(path, "data", match.start(), match.end()))
                break
    return found
