"""Old training scripts in the conversation: named, pasted, with something missing, in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.brain.talker import Talker
from tutor_agent.brain.builtin.code import split_code
from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.reading import Known, read_message
from tutor_agent.brain.tools.sheets import load_sheet

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SCRIPT = """\
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

tokenizer = AutoTokenizer.from_pretrained("{model}")
model = AutoModelForCausalLM.from_pretrained("{model}")
rows = load_dataset("csv", data_files="{data}")["train"].train_test_split(test_size=0.1)


def encode(batch):
    found = tokenizer(batch["text"], truncation=True, max_length=64)
    found["labels"] = found["input_ids"].copy()
    return found


rows = rows.map(encode, batched=True)
arguments = TrainingArguments("out", evaluation_strategy="steps", eval_steps=4, num_train_epochs=2, learning_rate=3e-5)
trainer = Trainer(model=model, args=arguments, train_dataset=rows["train"], eval_dataset=rows["test"], tokenizer=tokenizer)
trainer.train()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    lines = [f"The boat number {n} leaves the harbour at dawn." for n in range(60)]
    (folder / "rows.csv").write_text("text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write(folder: Path, name: str = "old.py", *, model: str = MODEL, data: str = "rows.csv") -> str:
    text = SCRIPT.format(model=model, data=data)
    (folder / name).write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize(
    "words",
    [
        "migrate old.py",
        "帮我把旧脚本 old.py 改成现在能跑的",
        "my old script old.py does not run any more",
        "旧脚本old.py跑不了了",
        "convert old.py to a plan",
        "old.py",
    ],
)
def test_a_named_script_becomes_a_plan(workspace: Path, words: str) -> None:
    write(workspace)
    talk = Talker(workspace)
    said = talk.say(words)
    assert talk.called == ["migrate_script"]
    assert talk.arguments("migrate_script") == {"script": "old.py"}
    assert "evaluation_strategy" in said
    assert "processing_class" in said
    plan = load_sheet(workspace).plan
    assert (plan.optim.learning_rate, plan.optim.epochs) == (3e-5, 2)
    assert plan.data.max_length == 64


def test_the_plan_on_the_table_can_be_changed_and_explained(workspace: Path) -> None:
    write(workspace)
    talk = Talker(workspace, {"start_run": lambda _: {"name": "old-1", "state": "running"}})
    talk.say("migrate old.py")
    assert "line" in talk.say("why this learning rate?")
    talk.say("only 1 epoch")
    assert talk.called == ["change_plan"]
    assert load_sheet(workspace).plan.optim.epochs == 1
    talk.say("start")
    assert talk.arguments("start_run") == {"plan": "old"}


@pytest.mark.parametrize(
    ("before", "after", "language"),
    [
        ("这是我以前的训练脚本，现在还能用吗？\n\n", "", "zh"),
        ("", "\n\nCan you make this run today?", "en"),
        ("看看这段代码：\n```python\n", "\n```\n谢谢", "zh"),
    ],
)
def test_a_pasted_script_becomes_a_plan(
    workspace: Path, before: str, after: str, language: str
) -> None:
    script = SCRIPT.format(model=MODEL, data="rows.csv")
    talk = Talker(workspace)
    said = talk.say(before + script.strip() + after)
    assert talk.called == ["migrate_script"]
    assert talk.arguments("migrate_script")["code"].strip() == script.strip()
    assert ("计划" in said) == (language == "zh")
    assert load_sheet(workspace).plan.model.source == MODEL


def test_what_the_script_leaves_open_is_asked_for_and_then_taken(workspace: Path) -> None:
    write(workspace, model="deepseek-ai/DeepSeek-67B")
    talk = Talker(workspace)
    said = talk.say("迁移 old.py")
    assert "deepseek-llm-67b-base" in said
    talk.say(f"用 {MODEL}")
    assert talk.arguments("migrate_script") == {"script": "old.py", "model": MODEL}
    assert load_sheet(workspace).plan.model.source == MODEL


def test_a_missing_data_file_is_a_sentence(workspace: Path) -> None:
    write(workspace, data="gone.csv")
    talk = Talker(workspace)
    assert "gone.csv" in talk.say("migrate old.py")
    talk.say("the data is rows.csv")
    assert talk.arguments("migrate_script") == {"script": "old.py", "data": "rows.csv"}
    assert load_sheet(workspace).plan.data.train == str(workspace / "rows.csv")


def test_a_missing_script_and_a_broken_one_are_sentences(workspace: Path) -> None:
    talk = Talker(workspace)
    assert "gone.py" in talk.say("migrate gone.py")
    (workspace / "two.py").write_text("print 'hello'\n", encoding="utf-8")
    assert "Python 2" in talk.say("migrate two.py")


def test_without_a_script_it_asks_which(workspace: Path) -> None:
    talk = Talker(workspace)
    assert ".py" in talk.say("I have an old training script, can you migrate it?")
    assert talk.called == []


@pytest.mark.parametrize(
    "words",
    [
        "my train.py is stuck at step 100",
        "train.py 里 loss 是 nan 怎么办",
        "how do I migrate from an old transformers version?",
        "nb.ipynb 训练日志有问题吗",
    ],
)
def test_trouble_and_questions_stay_what_they_are(words: str) -> None:
    assert read_message(words, Known()).intent is not Intent.migrate


def test_a_traceback_that_quotes_a_script_is_no_script() -> None:
    script = SCRIPT.format(model=MODEL, data="rows.csv")
    error = "TypeError: TrainingArguments.__init__() got an unexpected keyword argument"
    assert split_code(f"{script}\n{error} 'evaluation_strategy'") is None
    assert split_code("What does TrainingArguments(learning_rate=1e-5) mean?") is None
