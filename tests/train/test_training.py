"""The three skills from plan to result, on one process and on two."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from tests.train import tiny
from tutor_agent.core.checkpoints import is_good, last_good

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train

TRAINED = {
    "lora": {"self_attn.q_proj.lora_A", "mlp.down_proj.lora_B"},
    "full-fine-tuning": {"embed_tokens", "self_attn.q_proj", "mlp.down_proj", "model.norm"},
    "layer-freezing": {"self_attn.q_proj", "mlp.down_proj", "model.norm"},
}


@pytest.mark.parametrize("skill", list(TRAINED))
def test_the_audit_lists_what_trains(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    run = tiny.make_run(tmp_path, skill)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    (audit,) = tiny.events(run, "audit")
    names = " ".join(audit.payload["modules"])
    assert all(name in names for name in TRAINED[skill])
    assert ("embed_tokens" in names) == (skill == "full-fine-tuning")


def test_a_run_tells_its_whole_story(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path)
    tiny.train_here(monkeypatch, run, llama)
    (started,) = tiny.events(run, "run_started")
    assert started.payload["world_size"] == 1
    assert started.payload["total_steps"] == 6
    phases = [event.payload["phase"] for event in tiny.events(run, "evaluation")]
    assert phases == ["before", "during", "during", "after"]
    before, after = (tiny.events(run, "evaluation")[i].number("loss") for i in (0, -1))
    assert before is not None
    assert after is not None
    assert after < before
    said = [event.payload for event in tiny.events(run, "sample")]
    assert [sample["phase"] for sample in said] == ["before", "after"]
    assert said[0]["prompt"] == said[1]["prompt"]
    assert [event.step for event in tiny.events(run, "step")] == [1, 2, 3, 4, 5, 6]
    assert [event.seq for event in tiny.events(run)] == list(range(len(tiny.events(run))))
    saved = tiny.events(run, "checkpoint")
    assert [event.payload["path"] for event in saved] == [
        f"checkpoints/checkpoint-{i}" for i in (3, 6)
    ]
    assert all(event.payload["good"] for event in saved)
    assert {item.name for item in (run / "result").iterdir()} >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert not (run / ".reserve").exists()


@pytest.mark.parametrize("packing", [False, True])
def test_cutting_the_batch_in_pieces_changes_no_loss(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, *, packing: bool
) -> None:
    whole = tiny.make_run(tmp_path, name="whole", data__packing=packing)
    shutil.copy(tmp_path / "whole.jsonl", tmp_path / "parts.jsonl")
    parts = tiny.make_run(
        tmp_path, name="parts", data__packing=packing, optim__micro_batch=1, optim__accumulate=4
    )
    for run in (whole, parts):
        assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.losses(parts) == pytest.approx(tiny.losses(whole), abs=2e-5)


@pytest.mark.parametrize("kind", ["deepseek_v2", "deepseek_v3"])
@pytest.mark.parametrize("targets", ["attention", "all-linear"])
def test_deepseek_trains_and_never_adapts_its_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, targets: str
) -> None:
    folder = tiny.save_model(tmp_path / kind, kind)
    params = {
        "r": 4,
        "alpha": 8,
        "targets": targets,
        "dropout": 0.1 if targets == "all-linear" else 0.0,
    }
    run = tiny.make_run(tmp_path, params=params, optim__max_steps=4)
    assert tiny.train_here(monkeypatch, run, folder) == 0, tiny.ending(run)
    (audit,) = tiny.events(run, "audit")
    adapted = " ".join(audit.payload["lora_targets"])
    assert "self_attn.kv_b_proj" in adapted
    assert "mlp.gate." not in adapted
    assert ("experts" in adapted) == (targets == "all-linear")
    assert ("shared_experts" in adapted) == (targets == "all-linear")
    assert ("layers.0.mlp" in adapted) == (targets == "all-linear")
    notes = [event.payload["text_en"] for event in tiny.events(run, "note")]
    assert any("dropout" in note for note in notes) == (targets == "all-linear")
    found = tiny.losses(run)
    assert found[-1] < found[0]


def test_nothing_trainable_is_refused_before_the_first_step(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutor_agent.training import model

    monkeypatch.setattr(model, "train_weights", lambda parameters: None)
    run = tiny.make_run(tmp_path, "layer-freezing")
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["state"] == "halted"
    assert tiny.ending(run)["reason"] == "nothing_trainable"
    assert not tiny.events(run, "step")


def test_a_user_error_ends_the_run_with_its_explanation(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, params={"r": 4, "targets": ["no_such_layer"]})
    assert tiny.train_here(monkeypatch, run, llama) == 1
    end = tiny.ending(run)
    assert end["state"] == "failed"
    assert "no_such_layer" in end["text_en"]
    assert "q_proj" in end["text_zh"]


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
def test_recomputing_activations_changes_no_loss(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    kept = tiny.make_run(tmp_path, skill, "kept")
    shutil.copy(tmp_path / "kept.jsonl", tmp_path / "recomputed.jsonl")
    recomputed = tiny.make_run(tmp_path, skill, "recomputed", launch__checkpointing=True)
    for run in (kept, recomputed):
        assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.losses(recomputed) == pytest.approx(tiny.losses(kept), abs=2e-5)


@pytest.mark.parametrize("skill", list(TRAINED))
def test_half_precision_on_a_cpu_only_when_the_plan_says_so(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    run = tiny.make_run(tmp_path, skill, model__dtype="bf16")
    assert tiny.train_here(monkeypatch, run, llama) == 0, tiny.ending(run)
    assert tiny.events(run, "run_started")[0].payload["dtype"] == "bf16"
    assert tiny.losses(run)[-1] < tiny.losses(run)[0]


def test_training_ends_early_when_nothing_improves(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(
        tmp_path,
        optim__learning_rate=1e-12,
        optim__max_steps=12,
        evaluation__every=1,
        evaluation__early_stopping=2,
    )
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["state"] == "completed"
    assert len(tiny.events(run, "step")) < 12
    assert any("Stopped early" in str(e.payload["text_en"]) for e in tiny.events(run, "note"))
    assert tiny.events(run, "evaluation")[-1].payload["phase"] == "after"


def test_the_stop_file_stops_with_a_checkpoint_and_no_result(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path)
    (run / "STOP").touch()
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["state"] == "stopped"
    assert is_good(run / "checkpoints" / "checkpoint-1")
    assert not (run / "result").exists()


def test_an_adapter_names_its_base_and_a_result_knows_where_to_stop(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    adapter = tiny.make_run(tmp_path, "lora", "adapter", model__source="someone/tiny")
    tiny.train_here(monkeypatch, adapter, llama)
    config = json.loads((adapter / "result" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "someone/tiny"
    shutil.copy(tmp_path / "adapter.jsonl", tmp_path / "whole.jsonl")
    whole = tiny.make_run(tmp_path, "full-fine-tuning", "whole")
    tiny.train_here(monkeypatch, whole, llama)
    told = json.loads((whole / "result" / "generation_config.json").read_text(encoding="utf-8"))
    assert told["eos_token_id"] == tiny.tokenizer().eos_token_id


def test_only_the_needed_checkpoints_stay(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, evaluation__every=1)
    tiny.train_here(monkeypatch, run, llama)
    kept = sorted(item.name for item in (run / "checkpoints").iterdir())
    assert kept[-2:] == ["checkpoint-5", "checkpoint-6"]
    assert len(kept) <= 3
    assert last_good(run / "checkpoints") == run / "checkpoints" / "checkpoint-6"


def test_full_weights_are_saved_in_the_precision_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "half"
    tiny.model().to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    run = tiny.make_run(tmp_path, "full-fine-tuning")
    assert tiny.train_here(monkeypatch, run, folder) == 0, tiny.ending(run)
    assert {tensor.dtype for tensor in tiny.weights(run / "result").values()} == {torch.bfloat16}
    (audit,) = tiny.events(run, "audit")
    assert audit.payload["total"] == audit.payload["trainable"]


def test_frozen_blocks_do_not_move(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, "layer-freezing", params={"train_last": 1})
    tiny.train_here(monkeypatch, run, llama)
    before, after = tiny.weights(llama), tiny.weights(run / "result")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("layers.2." in name or name == "model.norm.weight" for name in moved)
