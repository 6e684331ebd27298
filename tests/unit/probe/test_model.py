"""A model's facts from its folder, the cache, the catalogue or the hub."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.probe.folders import LLAMA, llama_tensors, write_model, write_tensors
from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.resources import cache_dir
from tutor_agent.probe import hub
from tutor_agent.probe.model import inspect_model, missing_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tutor_agent.core.facts import ModelFacts

TOTAL = 2 * 64 * 16 + 2 * (2 * 256 + 2 * 128 + 3 * 512 + 32) + 16


def notes(facts: ModelFacts) -> str:
    return " ".join(note.en for note in facts.special)


def test_a_folder_is_counted_from_its_headers(tmp_path: Path) -> None:
    facts = inspect_model(str(write_model(tmp_path / "my-model", tensors=llama_tensors())))
    assert (facts.name, facts.dtype, facts.quantization) == ("my-model", "bf16", None)
    assert facts.architecture == "LlamaForCausalLM"
    assert (facts.parameters.total, facts.parameters.embedding) == (TOTAL, 1024)
    expected = {"embedding": 1024, "attention": 1536, "mlp": 3072, "norm": 80, "head": 1024}
    assert facts.parameters.parts == expected
    assert facts.shape.head_dim == 4
    assert facts.path == str((tmp_path / "my-model").resolve())


def test_shards_follow_the_index(tmp_path: Path) -> None:
    tensors = list(llama_tensors().items())
    index = {"weight_map": {n: f"part-{i % 2}.safetensors" for i, (n, _) in enumerate(tensors)}}
    folder = write_model(tmp_path / "m", model__safetensors__index__json=index)
    for part in (0, 1):
        write_tensors(folder / f"part-{part}.safetensors", dict(tensors[part::2]))
    write_tensors(folder / "unrelated.safetensors", {"x": ("F32", (9, 9))})
    assert inspect_model(str(folder)).parameters.total == TOTAL
    assert missing_weights(folder) == ()
    (folder / "part-1.safetensors").unlink()
    assert missing_weights(folder) == ("part-1.safetensors",)
    facts = inspect_model(str(folder))
    assert facts.parameters.total == TOTAL
    assert "part-1.safetensors" in notes(facts)


def test_without_weights_the_closed_form_counts(tmp_path: Path) -> None:
    facts = inspect_model(str(write_model(tmp_path / "m")))
    assert facts.parameters.total == TOTAL
    assert "no weights" in notes(facts)


def test_tied_heads(tmp_path: Path) -> None:
    by_absence = inspect_model(str(write_model(tmp_path / "a", tensors=llama_tensors(head=False))))
    stored_twice = {**LLAMA, "tie_word_embeddings": True}
    by_config = inspect_model(str(write_model(tmp_path / "b", stored_twice, llama_tensors())))
    for facts in (by_absence, by_config):
        assert facts.shape.tied
        assert facts.parameters.total == TOTAL - 1024


def test_prediction_layers_beyond_the_model_are_not_counted(tmp_path: Path) -> None:
    facts = inspect_model(str(write_model(tmp_path / "m", tensors=llama_tensors(layers=3))))
    assert facts.parameters.total == TOTAL
    assert "multi-token prediction" in notes(facts)


def linear(name: str, *pieces: tuple[str, str, tuple[int, ...]]) -> dict[str, Any]:
    tensors = llama_tensors()
    del tensors[f"{name}.weight"]
    return tensors | {f"{name}{suffix}": (dtype, shape) for suffix, dtype, shape in pieces}


UP = "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize(
    ("setting", "tensors", "expected"),
    [
        (
            {"quant_method": "fp8"},
            linear(UP, (".weight", "F8_E4M3", (32, 16)), (".weight_scale_inv", "F32", (1, 1))),
            "fp8",
        ),
        (
            {"quant_method": "gptq", "bits": 4},
            linear(UP, (".qweight", "I32", (2, 32)), (".qzeros", "I32", (1, 4)), (".scales", "F16", (1, 32)), (".g_idx", "I32", (16,))),
            "gptq",
        ),
        (
            {"quant_method": "awq", "bits": 4},
            linear(UP, (".qweight", "I32", (16, 4)), (".qzeros", "I32", (1, 4)), (".scales", "F16", (1, 32))),
            "awq",
        ),
        (
            {"quant_method": "gptq", "bits": 8},
            linear(UP, (".qweight", "I32", (4, 32)), (".scales", "F16", (1, 32))),
            "gptq",
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            linear(UP, (".weight", "U8", (256, 1)), (".weight.absmax", "U8", (8,)), (".weight.quant_map", "F32", (16,)), (".weight.quant_state.bitsandbytes__nf4", "U8", (77,))),
            "bnb-4bit",
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
            linear(UP, (".weight", "I8", (32, 16)), (".SCB", "F32", (32,))),
            "bnb-8bit",
        ),
        (
            {"quant_method": "mxfp4"},
            linear(UP, (".weight_blocks", "U8", (32, 8)), (".weight_scales", "U8", (32, 1))),
            "mxfp4",
        ),
        (
            {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"},
            linear(UP, (".weight", "U8", (32, 8)), (".weight_scale", "F8_E4M3", (32, 1)), (".input_scale", "F32", (1,))),
            "nvfp4",
        ),
        (None, linear(UP, (".weight", "F8_E4M3", (32, 16))), "fp8"),
    ],
)  # fmt: skip
def test_quantised_weights_count_as_what_they_stand_for(
    tmp_path: Path, setting: dict[str, Any] | None, tensors: dict[str, Any], expected: str
) -> None:
    config = {**LLAMA, "quantization_config": setting} if setting else LLAMA
    facts = inspect_model(str(write_model(tmp_path / "m", config, tensors)))
    assert facts.quantization == expected
    assert facts.parameters.total == TOTAL
    assert "quantised" in notes(facts) or "dequantised" in notes(facts)


def test_experts_are_told_apart(tmp_path: Path) -> None:
    config = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 1}
    tensors = {n: t for n, t in llama_tensors().items() if ".mlp." not in n}
    for layer in range(2):
        moe = f"model.layers.{layer}.block_sparse_moe"
        tensors[f"{moe}.gate.weight"] = ("BF16", (4, 16))
        for i in range(4):
            tensors |= {f"{moe}.experts.{i}.w{j}.weight": ("BF16", (32, 16)) for j in (1, 2, 3)}
    counted = inspect_model(str(write_model(tmp_path / "a", config, tensors)))
    computed = inspect_model(str(write_model(tmp_path / "b", config)))
    assert counted.parameters == computed.parameters
    assert counted.parameters.parts["experts"] == 2 * 4 * 3 * 512
    assert counted.parameters.active == counted.parameters.total - 2 * 3 * 3 * 512
    assert "router" in notes(counted)


@pytest.mark.parametrize(
    ("files", "template", "words"),
    [
        ({"tokenizer_config__json": {"chat_template": "{{ x }}"}}, True, ""),
        ({"chat_template__jinja": "<think>"}, True, "<think>"),
        ({"chat_template__json": {"chat_template": "x"}}, True, ""),
        ({"tokenizer_config__json": {"chat_template": [{"name": "default", "template": "x"}]}}, True, ""),
        ({"tokenizer_config__json": {"eos_token": "</s>"}}, False, "no chat template"),
        ({}, None, ""),
        ({"tokenizer_config__json": {"pad_token": "</s>", "eos_token": {"content": "</s>"}}}, False, "learn to stop"),
        ({"tokenizer_config__json": {"model_max_length": 1e30}}, False, "model_max_length"),
        ({"README__md": "---\nlicense: mit\n---\n# Hi"}, None, ""),
    ],
)  # fmt: skip
def test_beside_the_weights(
    tmp_path: Path, files: dict[str, Any], template: bool | None, words: str
) -> None:
    facts = inspect_model(str(write_model(tmp_path / "m", tensors=llama_tensors(), **files)))
    assert facts.chat_template is template
    assert words in notes(facts)
    assert facts.licence == ("mit" if "README__md" in files else None)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "deepseek", "auto_map": {"AutoModel": "x.y"}}, "trust_remote_code"),
        ({"model_type": "brand_new", "auto_map": {"AutoModel": "x.y"}}, "auto_map"),
        ({"model_type": "brand_new"}, "estimate"),
    ],
)
def test_what_the_configuration_warns_of(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    assert words in notes(inspect_model(str(write_model(tmp_path / "m", LLAMA | config))))


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"no config\.json"):
        inspect_model(str(tmp_path))
    (tmp_path / "m.Q4.gguf").touch()
    with pytest.raises(UnreadableError, match=r"m\.Q4\.gguf is for inference"):
        inspect_model(str(tmp_path))
    adapter = tmp_path / "adapter_config.json"
    adapter.write_text('{"base_model_name_or_path": "x/base"}', encoding="utf-8")
    with pytest.raises(UnreadableError, match="x/base"):
        inspect_model(str(tmp_path))
    (tmp_path / "config.json").write_text("[", encoding="utf-8")
    with pytest.raises(UnreadableError, match="not a JSON object"):
        inspect_model(str(tmp_path))


@pytest.mark.parametrize(
    "damage", [b"", b"\x05\0\0\0\0\0\0\0{bad}", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]"]
)
def test_damaged_headers_name_the_file(tmp_path: Path, damage: bytes) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(UnreadableError, match=r"model\.safetensors is damaged"):
        inspect_model(str(folder))


def test_cut_weights_are_damaged(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", tensors=llama_tensors())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UnreadableError, match="Download it again"):
        inspect_model(str(folder))


def test_pickles_are_named(tmp_path: Path) -> None:
    facts = inspect_model(str(write_model(tmp_path / "m", pytorch_model__bin="x")))
    assert "pickles (pytorch_model.bin)" in notes(facts)


def cached(model_id: str, commit: str = "abc123") -> Path:
    repository = hub.hub_cache() / f"models--{model_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    return write_model(repository / "snapshots" / commit, tensors=llama_tensors())


def test_the_cache_comes_before_the_catalogue() -> None:
    assert inspect_model("deepseek 7b").path is None
    folder = cached("deepseek-ai/deepseek-llm-7b-chat")
    facts = inspect_model("deepseek 7b")
    assert (facts.name, facts.source) == ("deepseek-ai/deepseek-llm-7b-chat", "deepseek 7b")
    assert facts.path == str(folder)
    assert "custom" in (facts.licence or "")
    cached("someone/else")
    assert inspect_model("someone/else").parameters.total == TOTAL


def test_a_name_that_does_not_exist_is_corrected_aloud() -> None:
    facts = inspect_model("deepseek-ai/DeepSeek-67B")
    assert facts.name == "deepseek-ai/deepseek-llm-67b-chat"
    assert "no repository deepseek-ai/DeepSeek-67B" in notes(facts)


def test_a_converted_model_is_found() -> None:
    write_model(
        cache_dir() / "models" / "HuggingFaceTB--SmolLM2-135M-Instruct", tensors=llama_tensors()
    )
    assert inspect_model("smollm").parameters.total == TOTAL


def test_unknown_names_say_what_was_tried() -> None:
    with pytest.raises(NotFoundError) as caught:
        inspect_model("deepseek-ai/deepseek-llm-9b-chat")
    message = caught.value.text
    for words in (
        "folder",
        "cache",
        "catalogue",
        "HF_HUB_OFFLINE",
        "deepseek-ai/deepseek-llm-7b-chat",
    ):
        assert words in message.en
    assert "相近的名称" in message.zh


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository; it records what it is asked."""

    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        Hub.asked.append((self.path, self.headers.get("Authorization")))
        answers = {
            "/me/model/resolve/main/config.json": LLAMA,
            "/me/model/resolve/main/tokenizer_config.json": {"chat_template": "x"},
        }
        body = json.dumps(answers.get(self.path, {})).encode()
        gated = "/gated/" in self.path
        self.send_response(200 if self.path in answers else 401 if gated else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Hub.asked.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    yield hub.endpoint()
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_is_asked_for_the_configuration_only(online: str) -> None:
    facts = inspect_model("me/model")
    assert (facts.parameters.total, facts.chat_template, facts.path) == (TOTAL, True, None)
    assert [path.rsplit("/", 1)[1] for path, _ in Hub.asked] == [
        "config.json",
        "tokenizer_config.json",
    ]


@pytest.mark.parametrize(
    ("name", "words"), [("me/none", "no repository"), ("gated/model", "HF_TOKEN")]
)
def test_what_the_hub_refuses(online: str, name: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        inspect_model(name)


def test_an_unreachable_hub_costs_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(NotFoundError, match="cannot be reached"):
        inspect_model("me/model")
    assert time.monotonic() - begin < hub.PATIENCE + 2


def test_a_name_look_up_that_hangs_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object, **__: object) -> None:
        release.wait(30)
        raise OSError

    monkeypatch.setattr(hub.socket, "create_connection", hang)
    begin = time.monotonic()
    assert not hub.is_reachable("https://hub.invalid", seconds=0.2)
    assert time.monotonic() - begin < 2
    release.set()


@pytest.mark.parametrize("name", ["../secret", "a/b/c", "a b", "x/..", "", "名字"])
def test_what_is_no_repository_name(name: str) -> None:
    assert not hub.is_hub_id(name)
