"""What a kept scene tells: which row, which layer, forward or backward, and what follows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from tutor_agent.diagnose.autopsy import autopsy_of, module, tell
from tutor_agent.diagnose.kept import KeptScene, Sample, Tensor

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.diagnose.autopsy import Autopsy

SOUND = Tensor(dtype="float32", largest=0.1, rms=0.02)
BROKEN = Tensor(dtype="float32", non_finite=3)
UP, NORM = "model.layers.1.mlp.up_proj", "model.layers.1.input_layernorm"


def _scene(**changes: object) -> KeptScene:
    usual = {
        "reason": "non_finite_loss",
        "step": 41,
        "recent_losses": (1.5, 1.4),
        "samples": (
            Sample(row="7", loss=1.2, text="question one"),
            Sample(row="9", loss=1.4, text="question two"),
        ),
        "weights": {f"{UP}.weight": SOUND, f"{NORM}.weight": SOUND},
        "gradients": {f"{UP}.weight": SOUND, f"{NORM}.weight": SOUND},
    }
    return KeptScene.model_validate({**usual, **changes})


def _first(dtype: str = "torch.float32") -> dict[str, str]:
    return {"module": f"base_model.model.{UP}", "kind": "Linear", "dtype": dtype}


def _says(told: Autopsy, *words: str) -> None:
    english = " ".join(text.en for text in told.story)
    chinese = "".join(text.zh for text in told.story)
    for word in words:
        assert word in english
        assert word in chinese


def test_broken_weights_acquit_the_data() -> None:
    broken = tuple(Sample(row=str(n), loss=math.nan) for n in (7, 9))
    told = tell(
        _scene(
            weights={f"base_model.model.{UP}.base_layer.weight": BROKEN},
            first_non_finite=_first(),
            samples=broken,
        )
    )
    assert told.culprit == "weights"
    _says(told, "41", "layers.1.mlp.up_proj", "3", "1.5")
    assert "no single sample" in told.story[2].en
    assert "data are not to blame" in told.story[-1].en


def test_fp16_overflow_is_named_forward_and_backward() -> None:
    forward = tell(_scene(first_non_finite=_first("torch.float16")))
    half = Tensor(dtype="float16", non_finite=1)
    backward = tell(
        _scene(reason="non_finite_gradient", loss=1.3, gradients={f"{UP}.weight": half})
    )
    assert (forward.culprit, backward.culprit) == ("overflow", "overflow")
    _says(forward, "65504", "layers.1.mlp.up_proj", "float16")
    _says(backward, "65504", "layers.1.mlp.up_proj", "1.3")
    assert forward.story[1].en.startswith("Forward pass:")
    assert "backwards" in backward.story[1].en


def test_one_bad_row_is_quoted() -> None:
    rows = (
        Sample(row="7", loss=1.2, text="sound"),
        Sample(row="9", loss=math.nan, text="broken row token hf_" + "a" * 34),
    )
    told = tell(_scene(first_non_finite=_first(), samples=rows))
    assert told.culprit == "sample"
    _says(told, "9", "broken row")
    assert "aaaa" not in " ".join(text.en for text in told.story)


def test_masked_row_is_told_from_broken_numbers() -> None:
    rows = (Sample(row="7", loss=1.2), Sample(row="9", loss=math.nan))
    told = tell(_scene(samples=rows))
    assert told.culprit == "masked"
    _says(told, "9", "NaN")


def test_grown_weights_blame_the_learning_rate() -> None:
    told = tell(
        _scene(
            reason="non_finite_gradient",
            loss=3.2,
            weights={
                f"{UP}.lora_B.default.weight": Tensor(rms=107, largest=130),
                f"{NORM}.weight": Tensor(rms=30, largest=40),
            },
            gradients={f"{UP}.weight": BROKEN, "model.layers.2.mlp.up_proj.weight": SOUND},
        )
    )
    assert told.culprit == "grown"
    _says(told, "107", "layers.1.mlp.up_proj")
    assert "learning rate" in told.story[-1].en


def test_backward_break_names_the_matrix_beside_a_norm_of_its_block() -> None:
    gradients = {
        "model.layers.0.mlp.up_proj.weight": BROKEN,
        f"{UP}.weight": BROKEN,
        f"{NORM}.weight": BROKEN,
        "model.norm.weight": SOUND,
    }
    told = tell(_scene(reason="non_finite_gradient", loss=1.3, gradients=gradients))
    assert told.culprit == "backward"
    _says(told, "layers.1.mlp.up_proj", "1.3")


def test_divergence_has_no_broken_number_and_names_the_odd_row() -> None:
    rows = (*(Sample(row=str(n), loss=1.4) for n in range(3)), Sample(row="9", loss=14.0, text="x"))
    told = tell(_scene(reason="diverged", loss=12.5, samples=rows))
    assert told.culprit == "diverged"
    _says(told, "1.4 → 12.5", "9", "14")


def test_sharded_weights_leave_layer_and_direction_unknown() -> None:
    rows = (Sample(row="7"), Sample(row="9"))
    told = tell(_scene(weights={}, gradients={}, samples=rows, rank=3, ranks=8))
    assert told.culprit == "unknown"
    _says(told, "7, 9", "rank 3")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (
            "base_model.model.model.layers.1.mlp.up_proj.lora_A.default.weight",
            "layers.1.mlp.up_proj",
        ),
        ("module.model.layers.0.self_attn.q_proj.weight", "layers.0.self_attn.q_proj"),
        ("lm_head.weight", "lm_head"),
        ("model", "model"),
        ("", ""),
    ],
)
def test_wrappers_are_left_out_of_names(name: str, known: str) -> None:
    assert module(name) == known


def test_scene_is_read_as_the_guard_writes_it(tmp_path: Path) -> None:
    assert autopsy_of(tmp_path) is None
    place = tmp_path / "scene" / "rank-0"
    place.mkdir(parents=True)
    head = {
        "reason": "non_finite_loss",
        "step": 5,
        "rank": 0,
        "learning_rate": 0.01,
        "loss": "nan",
        "grad_norm": "nan",
        "recent_losses": [3.2, "inf"],
        "first_non_finite": None,
        "files": {"samples": "rank-0/samples.jsonl", "layers": "rank-0/layers.json"},
    }
    (tmp_path / "scene" / "scene.json").write_text(json.dumps(head), encoding="utf-8")
    rows = [{"row": [3, 4], "loss": "nan", "tokens": 9, "text": "joined"}, {"row": 5, "loss": 1.0}]
    lines = "\n".join([*map(json.dumps, rows), '{"row": 6, "lo'])
    (place / "samples.jsonl").write_text(lines, encoding="utf-8")
    told = autopsy_of(tmp_path)
    assert told is not None
    assert told.culprit == "masked"
    _says(told, "3, 4", "inf")
    (place / "layers.json").write_text('{"weights": {"a": {"rms": "nan"', encoding="utf-8")
    assert autopsy_of(tmp_path) == told
    (tmp_path / "scene" / "scene.json").write_text('{"step": "x"}', encoding="utf-8")
    assert autopsy_of(tmp_path) is None
