"""Every task from data to its own figures: prompts, cuts, classes, written answers."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.assets import write_jsonl
from tests.train import tiny
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.metric_names import TASK_METRICS
from tutor_agent.core.plan import Plan
from tutor_agent.core.samples import to_sample
from tutor_agent.data.labels import IGNORED, Encoder
from tutor_agent.data.load import SourceRow
from tutor_agent.data.prepare import prepare
from tutor_agent.training.generate import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Task

pytestmark = pytest.mark.train


def _classes(count: int = 60) -> list[dict[str, str]]:
    drawn = random.Random(0)
    rows = []
    for i in range(count):
        words: list[str] = drawn.choices(tiny.WORDS[4:], k=drawn.randint(2, 8))
        words.insert(drawn.randrange(len(words)), ("red", "blue")[i % 2])
        rows.append({"text": " ".join(words), "label": ("hot", "cold")[i % 2]})
    return rows


def _run(folder: Path, rows: list[dict[str, Any]], skill: str = "lora", **changes: Any) -> Path:
    name = changes.pop("name", "task")
    folder.mkdir(exist_ok=True)
    write_jsonl(rows, folder / f"{name}.jsonl")
    return tiny.make_run(folder, skill, name, **changes)


def _words(ids: Any) -> str:
    return str(tiny.tokenizer().decode(list(ids), skip_special_tokens=False))


def _judged(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found = {e.payload["phase"]: dict(e.payload) for e in tiny.events(run, "evaluation")}
    return found["before"], found["after"]


@pytest.mark.parametrize(
    "task", ["chat", "completion", "qa", "summarization", "classification", "pretraining"]
)
def test_each_task_is_judged_by_its_own_metrics(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    rows: list[dict[str, Any]] = {
        "classification": _classes(),
        "pretraining": [{"text": row["question"]} for row in tiny.rows()],
    }.get(task, tiny.rows())
    run = _run(tmp_path, rows, task=task, optim__max_steps=6)
    assert tiny.train_here(monkeypatch, run, llama) == 0, tiny.ending(run)
    for figures in _judged(run):
        assert set(TASK_METRICS[task]) <= set(figures)
        assert ("answered" in figures) == (task != "pretraining")
    samples = [event.payload for event in tiny.events(run, "sample")]
    assert [sample["phase"] for sample in samples] == ["before", "after"]


def test_the_budget_bounds_what_is_written(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(
        tmp_path,
        tiny.rows(),
        evaluation__generated_rows=2,
        evaluation__samples=3,
        evaluation__max_new_tokens=2,
    )
    tiny.train_here(monkeypatch, run, llama)
    assert _judged(run)[0]["answered"] == 2
    samples = [event.payload for event in tiny.events(run, "sample")]
    assert len(samples) == 6
    assert all(len(str(sample["answer"]).split()) <= 2 for sample in samples)
    none = _run(tmp_path / "none", tiny.rows(), evaluation__generated_rows=0)
    tiny.train_here(monkeypatch, none, llama)
    assert "bleu" not in _judged(none)[0]
    notes = " ".join(str(event.payload["text_en"]) for event in tiny.events(none, "note"))
    assert "generated_rows is 0" in notes


def test_batches_and_budgets_do_not_change_an_answer(llama: Path) -> None:
    network = tiny.model()
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), 64, "assistant")
    rows = [
        SourceRow(i, to_sample(row, "pairs", {"prompt": "question", "completion": "answer"}, "qa"))
        for i, row in enumerate(tiny.rows(20))
    ]
    writer = Writer(network, encoder, most_tokens=12)
    together = writer.answer(rows)
    assert together is not None
    for row, said in zip(rows, together, strict=True):
        ids = torch.tensor([encoder.question_ids(row.sample, 64)])
        with torch.no_grad():
            for _ in range(12):
                nearest = network(input_ids=ids).logits[0, -1].argmax()
                if int(nearest) in encoder.ends:
                    break
                ids = torch.cat([ids, nearest[None, None]], dim=1)
        asked = len(encoder.question_ids(row.sample, 64))
        alone = _words(ids[0, asked:])
        assert said.answer == alone
    assert writer.answer(rows, stopped=lambda: True) is None
    assert network.training


def test_two_processes_write_and_score_what_one_does(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = _run(tmp_path, tiny.rows(), name="alone", task="qa", evaluation__samples=3)
    assert tiny.train_here(monkeypatch, alone, llama) == 0
    pair = _run(
        tmp_path,
        tiny.rows(),
        name="pair",
        task="qa",
        evaluation__samples=3,
        launch__processes=2,
        optim__micro_batch=2,
    )
    assert tiny.start_ranks(pair, llama, 2).wait(timeout=240) == 0, tiny.ending(pair)
    for one, two in zip(_judged(alone), _judged(pair), strict=True):
        assert one.keys() == two.keys()
        for name in ("exact_match", "f1", "loss", "answered"):
            assert two[name] == pytest.approx(one[name], abs=2e-5)
    said = [[e.payload["answer"] for e in tiny.events(run, "sample")] for run in (alone, pair)]
    assert said[0] == said[1]


def test_a_sharded_model_writes_too(tmp_path: Path, llama: Path) -> None:
    from pathlib import Path as Folder

    run = _run(
        tmp_path,
        tiny.rows(),
        "full-fine-tuning",
        task="qa",
        launch__processes=2,
        launch__sharding="fsdp2",
        optim__micro_batch=2,
    )
    through = str(Folder(__file__).with_name("sharded_on_cpu.py"))
    assert tiny.start_ranks(run, llama, 2, through=through).wait(timeout=240) == 0
    before, after = _judged(run)
    assert before["answered"] == after["answered"] > 0
    assert {"exact_match", "f1"} <= set(before)


@pytest.mark.parametrize("skill", ["lora", "layer-freezing", "full-fine-tuning"])
def test_a_classification_head_learns_and_is_saved_with_its_classes(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    run = _run(
        tmp_path,
        _classes(240),
        skill,
        task="classification",
        model__head="classifier",
        data__packing=True,
        optim__learning_rate=5e-3 if skill == "lora" else 3e-3,
        optim__max_steps=120,
        optim__epochs=14,
        evaluation__every=40,
    )
    assert tiny.train_here(monkeypatch, run, llama) == 0, tiny.ending(run)
    before, after = _judged(run)
    assert after["accuracy"] >= 0.85 > before["accuracy"]
    assert after["f1"] >= 0.85
    assert after["loss"] < before["loss"]
    assert "perplexity" not in after
    assert sum(one["rows"] for one in after["classes"].values()) == 24
    assert {str(e.payload["answer"]) for e in tiny.events(run, "sample")} <= {"hot", "cold"}

    result = run / "result"
    config: Any = AutoConfig.from_pretrained(result)
    assert config.id2label == {0: "cold", 1: "hot"}
    assert config.pad_token_id == tiny.tokenizer().pad_token_id
    source = llama if skill == "lora" else result
    served: Any = AutoModelForSequenceClassification.from_pretrained(source, config=config)
    if skill == "lora":
        served = PeftModel.from_pretrained(served, str(result))
    served.eval()
    tokens = tiny.tokenizer()
    with torch.no_grad():
        scores = [served(**tokens(r["text"], return_tensors="pt")).logits for r in _classes(240)]
    named = [config.id2label[int(one.argmax())] for one in scores]
    right = sum(name == row["label"] for name, row in zip(named, _classes(240), strict=True))
    assert right >= 220


def test_a_classifier_on_two_processes_counts_the_same(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"task": "classification", "model__head": "classifier", "optim__max_steps": 6}
    alone = _run(tmp_path, _classes(), name="alone", **common)
    assert tiny.train_here(monkeypatch, alone, llama) == 0
    pair = _run(
        tmp_path, _classes(), name="pair", launch__processes=2, optim__micro_batch=2, **common
    )
    assert tiny.start_ranks(pair, llama, 2).wait(timeout=240) == 0, tiny.ending(pair)
    assert tiny.losses(pair) == pytest.approx(tiny.losses(alone), abs=2e-5)
    assert _judged(pair)[1]["classes"] == _judged(alone)[1]["classes"]


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        ([{"text": f"red {w}", "label": "hot"} for w in tiny.WORDS], {}, "nothing to tell apart"),
        ([{"text": f"red {i}", "label": str(i)} for i in range(40)], {}, "not classes"),
        (_classes(), {"task": "qa"}, "task is 'qa'"),
    ],
)
def test_a_head_without_classes_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], changes: dict[str, Any], words: str
) -> None:
    choice = {"format": "labelled", "columns": {"text": "text", "label": "label"}}
    run = _run(
        tmp_path,
        rows,
        **{"task": "classification", "model__head": "classifier", **changes},
        **{f"data__{key}": value for key, value in choice.items()},
    )
    with pytest.raises(NotPossibleError, match=words):
        prepare(Plan.load(run / "plan.yaml"), tiny.tokenizer())


def test_a_class_that_training_lacks_is_named_and_not_lost(tmp_path: Path) -> None:
    rows = _classes()
    write_jsonl([*rows[:4], {"text": "red dry", "label": "wet"}], tmp_path / "test.jsonl")
    run = _run(
        tmp_path,
        rows[4:],
        task="classification",
        model__head="classifier",
        data__test=str(tmp_path / "test.jsonl"),
    )
    data = prepare(Plan.load(run / "plan.yaml"), tiny.tokenizer())
    assert data.head is not None
    assert data.head.classes == ("cold", "hot", "wet")
    assert any("wet" in problem.zh for problem in data.audit.problems)
    assert len(data.test) == 5


def _passage(length: int, question: str, answer: str) -> SourceRow:
    row = {"context": " ".join(["red"] * length), "question": question, "answer": answer}
    roles = {"context": "context", "prompt": "question", "completion": "answer"}
    return SourceRow(1, to_sample(row, "pairs", roles, "qa"))


def test_a_long_passage_is_cut_and_neither_question_nor_answer() -> None:
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), 32, "assistant")
    row = _passage(90, "what goes with blue", "small large")
    (example,) = encoder.encode_row(row)
    words = _words(example.ids)
    assert len(example.ids) <= 32
    assert example.truncated
    assert words.startswith("<|im_start|> user : red")
    assert "what goes with blue" in words
    assert words.endswith("assistant : small large <|im_end|>")
    asked = _words(encoder.question_ids(row.sample, 32))
    assert asked.startswith("<|im_start|> user : red")
    assert asked.endswith("what goes with blue <|im_end|> <|im_start|> assistant :")
    assert len(encoder.question_ids(row.sample, 32)) <= 32
    (short,) = encoder.encode_row(_passage(5, "what goes with blue", "small"))
    assert not short.truncated


def test_a_question_longer_than_the_room_is_cut_like_any_prompt() -> None:
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), 16, "assistant")
    (example,) = encoder.encode_row(_passage(30, " ".join(["blue"] * 40), "small"))
    assert len(example.ids) == 16
    learnt = [label for label in example.labels if label != IGNORED]
    assert _words(learnt) == "small <|im_end|>"


def test_a_document_keeps_its_beginning() -> None:
    words = " ".join(["new", *["old"] * 60])
    roles = {"prompt": "document", "completion": "summary"}
    sample = to_sample({"document": words, "summary": "hot"}, "pairs", roles, "summarization")
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), 24, "assistant")
    (example,) = encoder.encode_row(SourceRow(1, sample))
    text = _words(example.ids)
    assert text.startswith("<|im_start|> user : new old")
    assert text.endswith("<|im_end|> <|im_start|> assistant : hot <|im_end|>")


@pytest.mark.parametrize(
    "cell", [["red", "old red"], "['red', 'old red']", {"text": ["red", "old red"]}]
)
def test_all_answers_that_the_data_accepts_are_known(cell: Any) -> None:
    roles = {"prompt": "question", "completion": "answer"}
    sample = to_sample({"question": "what", "answer": cell}, "pairs", roles, "qa")
    assert sample.answer == "red"
    assert sample.accepted == ("red", "old red")


@pytest.mark.parametrize("supervise", ["assistant", "last"])
def test_conversations_learn_all_answers_or_the_last(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, supervise: str
) -> None:
    turns = [
        {"messages": [{"role": r, "content": c} for r, c in zip(roles, row, strict=True)]}
        for roles in [("user", "assistant", "user", "assistant")]
        for row in ((f"what {w}", "small old", f"what {w} new", "large") for w in tiny.WORDS)
    ]
    run = _run(tmp_path, turns, data__supervise=supervise, optim__max_steps=3)
    assert tiny.train_here(monkeypatch, run, llama) == 0, tiny.ending(run)
    (audit,) = tiny.events(run, "audit")
    # "large <end>" in each conversation, and "small old <end>" before it.
    each = 2 if supervise == "last" else 5
    assert audit.number("supervised_tokens") == each * (audit.number("rows") or 0)
    reference = {str(event.payload["reference"]) for event in tiny.events(run, "sample")}
    assert reference == {"large"}


def test_a_classifier_on_deepseek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.save_model(tmp_path / "v3", "deepseek_v3")
    run = _run(
        tmp_path, _classes(), task="classification", model__head="classifier", optim__max_steps=4
    )
    assert tiny.train_here(monkeypatch, run, folder) == 0, tiny.ending(run)
    (audit,) = tiny.events(run, "audit")
    assert "score" in str(audit.payload["modules"])
    told = json.loads((run / "result" / "adapter_config.json").read_text(encoding="utf-8"))
    assert told["task_type"] == "SEQ_CLS"
