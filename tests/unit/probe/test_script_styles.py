"""Scripts as tutorials, notebooks and other libraries write them: what is read, and what is not claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.probe import scripts, styles
from tutor_agent.actions.context import Context
from tutor_agent.actions.migrate import MigrateRequest, Migration, migrate
from tutor_agent.advise.from_script import carry_over
from tutor_agent.advise.script_data_fields import skill_of, task_of
from tutor_agent.core.changes import flatten
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.probe.script import Script, read_script

if TYPE_CHECKING:
    from pathlib import Path


def _read(
    folder: Path, code: str, name: str = "train.py"
) -> tuple[Script, dict[str, object], dict[str, int]]:
    """Return a script, the values it gives itself by plan field, and their lines."""
    (folder / name).write_text(code, encoding="utf-8")
    script = read_script(folder / name)
    kept = [each for each in carry_over(script).fields.values() if each.line is not None]
    lines = {each.path: each.line for each in kept if each.line}
    return script, {each.path: each.value for each in kept}, lines


def _migrate(folder: Path, code: str, name: str = "train.py", **given: str) -> Migration:
    (folder / name).write_text(code, encoding="utf-8")
    return migrate(Context(folder), MigrateRequest(script=name, machine="cpu", **given))


def _kinds(made: Migration) -> set[str]:
    return {each.kind for each in made.findings}


def _model(script: Script) -> object:
    return script.model_name.value if script.model_name else None


def test_a_tutorial_that_cuts_by_hand_and_downloads_first(tmp_path: Path) -> None:
    script, values, lines = _read(tmp_path, styles.TUTORIAL)
    assert _model(script) == "deepseek-ai/deepseek-llm-7b-chat"
    assert skill_of(script) == "lora"
    assert values["data.train"] == "./huanhuan.json"
    assert values["data.max_length"] == 384
    assert (values["params.r"], values["params.alpha"], values["params.dropout"]) == (8, 32, 0.1)
    assert values["optim.accumulate"] == 2
    assert script.labels
    assert "input_ids[:MAX_LENGTH]" in script.source.code(lines["data.max_length"])
    assert "condition" not in _kinds(_migrate(tmp_path, styles.TUTORIAL))


def test_objects_are_followed_through_their_methods(tmp_path: Path) -> None:
    script, values, _ = _read(tmp_path, styles.OBJECTS)
    assert _model(script) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert values["optim.learning_rate"] == 1e-3
    assert values["optim.max_steps"] == 2000
    assert values["data.train"] == "data/part1.jsonl"
    assert values["data.columns.text"] == "text"
    made = _migrate(tmp_path, styles.OBJECTS)
    assert {"many-files", "own-code", "not-carried"} <= _kinds(made)


def test_classes_of_options_with_defaults_of_their_own(tmp_path: Path) -> None:
    script, values, lines = _read(tmp_path, styles.OWN_ARGUMENTS)
    assert _model(script) == "meta-llama/Llama-3.2-1B"
    assert values["data.train"] == "alpaca_data.json"
    assert values["optim.learning_rate"] == 2e-5
    assert values["data.max_length"] == 512
    assert "learning_rate" in script.source.code(lines["optim.learning_rate"])
    assert script.arguments is not None
    assert script.arguments.open


@pytest.mark.parametrize("code", [styles.OPPOSITE, styles.OWN_ARGUMENTS, styles.TUTORIAL])
def test_a_text_joined_from_columns_is_not_taken_for_one_column(tmp_path: Path, code: str) -> None:
    script, values, _ = _read(tmp_path, code)
    assert "data.columns.text" not in values
    assert task_of(script) is None
    assert "own-format" in _kinds(_migrate(tmp_path, code)) or code is styles.TUTORIAL


def test_freezing_all_and_thawing_the_last(tmp_path: Path) -> None:
    script, values, _ = _read(tmp_path, styles.OPPOSITE)
    assert skill_of(script) == "layer-freezing"
    assert values["params.train_last"] == 4
    assert values["optim.micro_batch"] == 16
    assert values["data.holdout"] == 0.1
    assert {"renamed", "removed", "fp16-without-gpu", "padding", "many-epochs"} <= _kinds(
        _migrate(tmp_path, styles.OPPOSITE)
    )


def test_the_trainer_of_another_library_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(NotPossibleError, match=r"line 9: pytorch_lightning\.Trainer"):
        _read(tmp_path, styles.LIGHTNING)


def test_a_loader_of_its_own_keeps_its_arguments_and_its_copy_is_named(tmp_path: Path) -> None:
    script, values, _ = _read(tmp_path, styles.UNSLOTH)
    assert skill_of(script) == "lora"
    assert values["params.quantization"] == "nf4"
    assert values["optim.optimizer"] == "adamw_8bit"
    assert values["data.max_length"] == 2048
    made = _migrate(tmp_path, styles.UNSLOTH, data="mine.jsonl")
    assert made.plan is not None
    assert made.plan.model.source == "Qwen/Qwen2.5-7B"
    (copied,) = [each for each in made.findings if each.kind == "model-copy"]
    assert copied.severity == "note"
    assert not any("load_in_4bit" in each.text.en for each in made.findings)


def test_a_recent_script_breaks_nowhere(tmp_path: Path) -> None:
    _, values, _ = _read(tmp_path, styles.NEW_SFT)
    assert values["data.supervise"] == "assistant"
    assert values["params.dora"] is True
    assert values["data.holdout"] == 0.05
    made = _migrate(tmp_path, styles.NEW_SFT)
    assert not [each for each in made.findings if each.severity in {"breaks", "wrong"}]
    assert "neftune_noise_alpha" in " ".join(each.text.en for each in made.findings)


def test_labels_of_a_classifier_come_from_its_column(tmp_path: Path) -> None:
    made = _migrate(tmp_path, styles.CLASSES)
    assert "no-labels" not in _kinds(made)
    assert made.plan is not None
    assert (made.plan.task, made.plan.model.head) == ("classification", "classifier")


def test_what_comes_from_outside_is_unknown_with_its_line(tmp_path: Path) -> None:
    made = _migrate(tmp_path, styles.OUTSIDE)
    assert made.plan is None
    assert made.needs == ("model", "data")
    source = styles.OUTSIDE.splitlines()
    code = [source[each.line - 1] for each in made.findings if each.severity == "unknown"]
    for words in ("model = AutoModel", "sys.argv[1]", 'cfg["max_length"]', 'cfg["lr"]'):
        assert any(words in each for each in code), words


def test_a_known_switch_is_taken_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    script, values, _ = _read(tmp_path, styles.SWITCHED)
    assert _model(script) == "deepseek-ai/deepseek-coder-1.3b-base"
    assert values["optim.learning_rate"] == 1e-5
    assert "optim.micro_batch" not in values
    assert values["data.validation"] == "b.parquet"
    said = " ".join(each.text.en for each in _migrate(tmp_path, styles.SWITCHED).findings)
    assert "launch.sharding" in said


def test_a_notebook_with_magic_lines_and_a_mapping_of_settings(tmp_path: Path) -> None:
    script, values, lines = _read(tmp_path, styles.NOTEBOOK, "work.ipynb")
    assert _model(script) == "EleutherAI/pythia-160m"
    assert values["params.targets"] == ["query_key_value"]
    assert values["params.quantization"] == "int8"
    assert values["data.columns.text"] == "review"
    assert values["data.holdout"] == 0.2
    assert script.source.where(lines["data.train"]).zh == "第 3 个单元格第 5 行"


@pytest.mark.parametrize("code", [styles.NOTEBOOK, styles.OLD_SFT, scripts.OLD_NAMES])
def test_a_model_that_nobody_here_knows_is_not_said_to_be_missing(
    tmp_path: Path, code: str
) -> None:
    name = "work.ipynb" if code is styles.NOTEBOOK else "train.py"
    made = _migrate(tmp_path, code, name)
    (found,) = [each for each in made.findings if each.kind in {"model", "model-name"}]
    assert found.severity == "unknown"


def test_the_release_that_dropped_a_name_is_said(tmp_path: Path) -> None:
    said = " ".join(each.text.en for each in _migrate(tmp_path, styles.OLD_SFT).findings)
    for words in (
        "warmup_ratio=…) no longer exists since transformers 5.15",
        "group_by_length=…) no longer exists since transformers 5.2",
        "max_seq_length=…) no longer exists since trl 0.13",
    ):
        assert words in said


@pytest.mark.parametrize("code", [scripts.GUIDE, styles.OLD_SFT, styles.SWITCHED])
def test_every_field_of_the_plan_has_a_reason(tmp_path: Path, code: str) -> None:
    made = _migrate(tmp_path, code)
    assert made.plan is not None
    assert set(flatten(made.plan)) == set(made.why)
    for path, line in made.lines.items():
        assert f"line {line}" in made.why[path].reason.en


def test_the_scripts_model_is_judged_even_when_another_is_given(tmp_path: Path) -> None:
    made = _migrate(tmp_path, scripts.GUIDE, model="HuggingFaceTB/SmolLM2-135M-Instruct")
    (found,) = [each for each in made.findings if each.kind == "model-name"]
    assert "deepseek-llm-67b-base" in found.todo.en
    assert made.plan is not None
    assert made.plan.model.source == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_train_epochs", "float('inf')"),
        ("num_train_epochs", "1e999"),
        ("learning_rate", "[1e-5]"),
        ("report_to", "5"),
        ("optim", "['adamw_torch']"),
        ("lr_scheduler_type", "{'a': 1}"),
        ("save_steps", "True"),
        ("eval_steps", "None"),
        ("seed", "b'x'"),
        ("load_best_model_at_end", "(1, 2)"),
        ("per_device_train_batch_size", "lambda: 0"),
    ],
)
def test_values_of_an_odd_kind_are_never_a_crash(tmp_path: Path, argument: str, value: str) -> None:
    lines = scripts.GUIDE.splitlines()
    place = lines.index("args = TrainingArguments(") + 1
    kept = [each for each in lines if not each.strip().startswith(f"{argument}=")]
    code = "\n".join([*kept[:place], f"    {argument}={value},", *kept[place:]])
    made = _migrate(tmp_path, code)
    assert made.plan is not None
    assert set(flatten(made.plan)) == set(made.why)


def test_a_tuple_of_targets_is_a_list_in_the_plan(tmp_path: Path) -> None:
    code = styles.TUTORIAL.replace(
        '["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]',
        '("q_proj", "v_proj")',
    )
    _, values, _ = _read(tmp_path, code)
    assert values["params.targets"] == ["q_proj", "v_proj"]


@pytest.mark.parametrize("empty", ["'deepseek-ai/DeepSeek-67B'", "'train_data.csv'"])
def test_an_empty_name_is_an_unknown_one(tmp_path: Path, empty: str) -> None:
    code = scripts.GUIDE.replace(empty.replace("'", '"'), '""')
    assert _migrate(tmp_path, code).needs
