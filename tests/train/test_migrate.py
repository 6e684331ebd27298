"""The guide's own script, migrated and trained; and the table of renamed arguments against what is installed."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import inspect
import math
from typing import TYPE_CHECKING, Any

import datasets
import peft
import pytest
import transformers
from transformers import PreTrainedTokenizerBase
from transformers.modeling_utils import PreTrainedModel

from tests.train import tiny
from tests.unit.probe import scripts
from tutor_agent.actions.context import Context
from tutor_agent.actions.migrate import MigrateRequest, migrate
from tutor_agent.library.renamed import Changed, renamed_table

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan

pytestmark = pytest.mark.train


def _parameters(of: str) -> set[str]:
    """Return the arguments that the installed library takes."""
    if of in {"TrainingArguments", "SFTConfig"}:
        owner: Any = getattr(transformers if of == "TrainingArguments" else _trl(), of)
        return {field.name for field in dataclasses.fields(owner)}
    found: dict[str, Any] = {
        "Trainer": transformers.Trainer.__init__,
        "Trainer.train": transformers.Trainer.train,
        "tokenizer": PreTrainedTokenizerBase.__call__,
        "load_dataset": datasets.load_dataset,
    }
    target = _trl().SFTTrainer.__init__ if of == "SFTTrainer" else found[of]
    return set(inspect.signature(target).parameters)


def _trl() -> Any:
    return pytest.importorskip(
        "trl", reason="TRL is not a dependency; its entries are checked where it is installed"
    )


@pytest.mark.parametrize(
    "changed",
    [c for c in renamed_table().arguments if c.of != "from_pretrained"],
    ids=lambda c: c.of,
)
def test_old_arguments_are_gone_and_new_ones_are_there(changed: Changed) -> None:
    taken = _parameters(changed.of)
    for old, new in changed.successors.items():
        assert old not in taken, f"{changed.of}({old}=…) is still taken"
        assert new is None or new in taken or new.startswith("SFTConfig("), f"{changed.of}({new}=…)"


def test_arguments_of_from_pretrained(llama: Path) -> None:
    changed = renamed_table().argument_changes("from_pretrained")
    assert changed is not None
    load = transformers.AutoModelForCausalLM.from_pretrained
    source = inspect.getsource(PreTrainedModel.from_pretrained)
    for old, new, _ in changed.renamed:
        assert f'"{new}"' in source or f"{new}:" in source, new
        if old in changed.still_taken:
            load(llama, **{old: "float32"})
        elif old != "use_auth_token":
            with pytest.raises(TypeError, match=old):
                load(llama, **{old: True})


@pytest.mark.parametrize("changed", renamed_table().names, ids=lambda c: c.of)
def test_old_names_are_gone_and_new_ones_are_there(changed: Changed) -> None:
    owners: dict[str, Any] = {
        "transformers": transformers,
        "peft": peft,
        "datasets": datasets,
        "tokenizer": PreTrainedTokenizerBase,
    }
    owner = owners[changed.of] if changed.of in owners else _trl()
    for old, new in changed.successors.items():
        assert not hasattr(owner, old), f"{changed.of}.{old} is still there"
        if new is None or changed.of == "tokenizer":
            continue
        module, _, name = new.rpartition(".")
        assert hasattr(importlib.import_module(module) if module else owner, name), new


def test_every_removal_has_its_release_and_is_in_the_installed_one() -> None:
    table = renamed_table()
    for changed in (*table.arguments, *table.names):
        newest = [int(part) for part in table.versions[changed.package].split(".")]
        for name, release in changed.since.items():
            if name in changed.still_taken:
                continue
            assert [int(part) for part in release.split(".")] <= newest, name


def test_the_versions_of_the_table_are_the_installed_ones() -> None:
    for package, version in renamed_table().versions.items():
        if package != "trl":
            assert importlib.import_module(package).__version__.startswith(f"{version}."), package


def _texts(path: Path, count: int, seed: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text"])
        writer.writerows([f"{row['question']} : {row['answer']}"] for row in tiny.rows(count, seed))


def _migrated(folder: Path, code: str, model: Path) -> Plan:
    (folder / "train.py").write_text(code, encoding="utf-8")
    for name, count, seed in (("train", 400, 0), ("val", 50, 1), ("test", 50, 2)):
        _texts(folder / f"{name}_data.csv", count, seed)
    made = migrate(Context(folder), MigrateRequest(script="train.py", model=str(model)))
    assert made.plan is not None
    assert made.advice is not None, made.warnings
    return made.plan


def _train(monkeypatch: pytest.MonkeyPatch, folder: Path, plan: Plan, model: Path) -> list[float]:
    run = folder / f"{plan.name}-1"
    run.mkdir()
    plan.save(run / "plan.yaml")
    assert tiny.train_here(monkeypatch, run, model) == 0
    assert tiny.ending(run)["state"] == "completed"
    return tiny.losses(run)


def test_the_guides_script_trains(
    workspace: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _migrated(workspace, scripts.GUIDE, llama)
    assert (plan.optim.micro_batch, plan.optim.epochs, plan.optim.learning_rate) == (128, 15, 3e-5)
    assert plan.optim.warmup < 1, "500 warm-up steps are longer than the whole run"
    assert plan.evaluation.every < 1, "an evaluation every 500 steps would never happen"
    losses = _train(monkeypatch, workspace, plan, llama)
    assert len(losses) // 15 in {3, 4}, "400 rows less repeated ones, 128 a step, 15 epochs"
    assert all(map(math.isfinite, losses))
    assert sum(losses[-4:]) < sum(losses[:4])


def test_a_lora_script_trains(
    workspace: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = scripts.ARGPARSE_LORA.replace('load_dataset("json"', 'load_dataset("csv"').replace(
        'os.path.join(args.data_dir, "rows.jsonl")', '"train_data.csv"'
    )
    plan = _migrated(workspace, code.replace('x["body"]', 'x["text"]'), llama)
    assert plan.skill == "lora"
    assert plan.params["alpha"] == 32
    losses = _train(monkeypatch, workspace, plan, llama)
    assert all(map(math.isfinite, losses))
    assert sum(losses[-4:]) < sum(losses[:4])
