"""Old scripts are read as far as their text leads, and no further."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.probe import scripts
from tutor_agent.advise.from_script import carry_over
from tutor_agent.advise.script_data_fields import skill_of, task_of
from tutor_agent.core.errors import NotPossibleError, UnreadableError
from tutor_agent.probe.script import Script, read_script

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.advise.carried import Carried


def _read(folder: Path, code: str, name: str = "train.py") -> Script:
    path = folder / name
    path.write_text(code, encoding="utf-8")
    return read_script(path)


def _values(carried: Carried) -> dict[str, object]:
    return {path: kept.value for path, kept in carried.fields.items() if kept.line is not None}


def _carried(folder: Path, code: str) -> tuple[Script, Carried]:
    script = _read(folder, code)
    return script, carry_over(script)


def test_the_guide(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.GUIDE)
    assert script.model_name is not None
    assert script.model_name.value == "deepseek-ai/DeepSeek-67B"
    assert not script.labels
    assert (skill_of(script), task_of(script)) == ("full-fine-tuning", "pretraining")
    assert _values(carried) == {
        "optim.micro_batch": 128,
        "optim.learning_rate": 3e-5,
        "optim.epochs": 15.0,
        "optim.weight_decay": 0.01,
        "optim.warmup": 500.0,
        "evaluation.every": 500.0,
        "evaluation.keep": "best",
        "data.train": "train_data.csv",
        "data.validation": "val_data.csv",
        "data.test": "test_data.csv",
        "data.packing": False,
        "data.columns.text": "text",
    }
    assert carried.fields["optim.learning_rate"].line == 22
    assert carried.fields["optim.accumulate"].default_of == "TrainingArguments"
    assert not carried.unknown


def test_the_guide_as_a_notebook(tmp_path: Path) -> None:
    script = _read(tmp_path, scripts.notebook(scripts.GUIDE), "train.ipynb")
    kept = carry_over(script).fields["optim.learning_rate"]
    assert kept.value == 3e-5
    assert kept.line is not None
    assert script.source.where(kept.line).en.startswith("cell 3, line ")
    assert "3e-5" in script.source.code(kept.line)


def test_the_guides_preparation(tmp_path: Path) -> None:
    script = _read(tmp_path, scripts.PREPARATION)
    assert script.kind == "preparation"


def test_argparse_and_lora(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.ARGPARSE_LORA)
    values = _values(carried)
    assert skill_of(script) == "lora"
    assert script.model_name is not None
    assert script.model_name.value == "Qwen/Qwen2.5-0.5B-Instruct"
    assert values["optim.learning_rate"] == 2e-4
    assert values["params.alpha"] == 32
    assert values["params.targets"] == ["q_proj", "v_proj"]
    assert values["data.train"] == "corpus/rows.jsonl"
    assert values["data.holdout"] == 0.05
    assert values["data.max_length"] == 512
    assert values["optim.warmup"] == 0.1
    assert values["optim.schedule"] == "cosine"
    assert values["evaluation.every"] == pytest.approx(1 / 3, abs=1e-5)
    assert values["evaluation.early_stopping"] == 2
    assert set(carried.unknown) == {"seed"}
    assert "model.dtype" not in values


def test_trl_with_quantised_lora(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.SFT)
    values = _values(carried)
    assert script.kind == "sft"
    assert script.model_name is not None
    assert script.model_name.value == "Qwen/Qwen2.5-7B-Instruct"
    assert values["params.quantization"] == "nf4"
    assert values["params.r"] == 64
    assert values["params.targets"] == "all-linear"
    assert values["optim.accumulate"] == 8
    assert values["optim.max_steps"] == 300
    assert values["optim.optimizer"] == "paged_adamw_8bit"
    assert values["data.max_length"] == 2048
    assert values["data.packing"] is True
    assert values["model.attention"] == "flash"
    assert values["model.dtype"] == "bf16"
    assert values["trackers"] == ["wandb"]
    assert values["data.train"] == "chat.jsonl"
    assert "neftune_noise_alpha" in carried.left


def test_trl_with_a_model_by_name_and_data_on_the_hub(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.SFT_BY_NAME)
    assert script.model_name is not None
    assert script.model_name.value == "facebook/opt-125m"
    assert script.train is not None
    assert script.train.hub == "stanfordnlp/imdb"
    assert "data.train" not in carried.fields
    assert _values(carried)["data.max_length"] == 256
    assert carried.fields["optim.learning_rate"].value == 2e-5


def test_freezing_by_hand(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.FREEZING)
    values = _values(carried)
    assert skill_of(script) == "layer-freezing"
    assert values["params.train_last"] == 4
    assert values["data.train"] == "data/notes.csv"
    assert values["data.columns.text"] == "note"
    assert script.labels


def test_freezing_the_bottom(tmp_path: Path) -> None:
    code = scripts.FREEZING.replace("layers[-4:]", "layers[:-6]")
    code = code.replace("requires_grad = True", "requires_grad = False")
    code = code.replace("for param in model.parameters():\n    param.requires_grad = False\n", "")
    _, carried = _carried(tmp_path, code)
    assert _values(carried)["params.train_last"] == 6


def test_classification_with_a_class_of_settings(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.CLASSIFIER)
    values = _values(carried)
    assert task_of(script) == "classification"
    assert values["model.head"] == "classifier"
    assert values["optim.learning_rate"] == 2e-5
    assert values["optim.micro_batch"] == 16
    assert values["data.train"] == "reviews.csv"
    assert values["data.validation"] == "held.csv"
    assert values["evaluation.every"] == 0.5


def test_what_depends_on_the_machine_is_unknown(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.CONDITIONAL)
    values = _values(carried)
    assert {"learning_rate", "per_device_train_batch_size"} <= set(carried.unknown)
    assert carried.unknown["learning_rate"].line in {3, 10}
    assert values["optim.max_steps"] == 300
    assert "optim.learning_rate" not in carried.fields
    assert "optim.micro_batch" not in carried.fields
    assert script.model_name is None or not isinstance(script.model_name.value, str)
    assert script.seen.derived[0].methods == ("compute_loss",)
    assert script.train is None


def test_names_of_long_ago(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.OLD_NAMES)
    values = _values(carried)
    assert script.model_name is not None
    assert script.model_name.value == "gpt2"
    assert values["optim.micro_batch"] == 4
    assert values["optim.optimizer"] == "adafactor"
    assert values["data.batching"] == "by_length"


def test_arguments_from_the_command_line(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.OPTIONS)
    assert script.model_name is not None
    assert script.model_name.value == "Qwen/Qwen2.5-0.5B"
    assert _values(carried)["data.train"] == "a.jsonl"
    assert script.arguments is not None
    assert script.arguments.open
    assert "optim.learning_rate" not in carried.fields


def test_functions_of_the_script_are_followed(tmp_path: Path) -> None:
    script, carried = _carried(tmp_path, scripts.HELPERS)
    values = _values(carried)
    assert script.model_name is not None
    assert script.model_name.value == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert values["optim.learning_rate"] == 5e-5
    assert values["optim.weight_decay"] == 0.1
    assert values["optim.epochs"] == 4.0
    assert values["data.train"] == "corpus/train.jsonl"
    assert values["data.validation"] == "corpus/dev.jsonl"


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (scripts.LOOP, NotPossibleError, "line 7"),
        (scripts.DPO, NotPossibleError, "DPOTrainer"),
        (scripts.SUMMARIES, NotPossibleError, "AutoModelForSeq2SeqLM"),
        (scripts.PYTHON2, UnreadableError, "Python 2"),
        (scripts.BROKEN, UnreadableError, "line 2"),
        (scripts.NOTHING, NotPossibleError, "trains nothing"),
        ("", NotPossibleError, "trains nothing"),
        ("x = " + "(" * 500 + ")" * 500, UnreadableError, "line 1"),
        ("x = " + "-" * 500 + "1", NotPossibleError, "."),
        ("x = 9 ** 9 ** 9\ns = 'a' * 10 ** 12\n", NotPossibleError, "trains nothing"),
        ("s = 'a'\n" + "s = s + s\n" * 60, NotPossibleError, "trains nothing"),
        ("def f(n):\n    return f(n) + f(n)\nf(1)\n", NotPossibleError, "trains nothing"),
    ],
)
def test_what_cannot_be_migrated(
    code: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        _read(tmp_path, code)


@pytest.mark.parametrize("words", ["{}", "[]", "not json", '{"cells": [1]}', '{"cells": 5}'])
def test_what_is_no_notebook(words: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="notebook"):
        _read(tmp_path, words, "x.ipynb")


def test_nothing_is_executed(tmp_path: Path) -> None:
    code = (
        f"open({str(tmp_path / 'made')!r}, 'w')\nimport antigravity\nraise SystemExit\n"
        + scripts.GUIDE
    )
    before = set(sys.modules)
    _read(tmp_path, code)
    assert not (tmp_path / "made").exists()
    assert not {"torch", "transformers", "antigravity"} & (set(sys.modules) - before)


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_bytes(("# 训练脚本，请勿修改\n" * 20 + scripts.GUIDE).encode("gb18030"))
    assert read_script(path).train is not None
    path.write_bytes(b"\xef\xbb\xbf" + scripts.GUIDE.replace("\n", "\r\n").encode())
    assert read_script(path).train is not None
