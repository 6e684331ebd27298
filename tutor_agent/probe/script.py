"""What an old training script does, read from its text alone: model, data, settings, method."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.probe.script_data import is_writer, rows_of
from tutor_agent.probe.script_layers import trained_last
from tutor_agent.probe.script_source import Source, parse_source
from tutor_agent.probe.script_values import Given, Made, Rows, Unknown
from tutor_agent.probe.script_walk import Derived, Setting, Walker

if TYPE_CHECKING:
    from pathlib import Path

TRAINERS = {
    "Trainer": ("model", "args", "data_collator", "train_dataset", "eval_dataset", "tokenizer"),
    "Seq2SeqTrainer": (
        "model",
        "args",
        "data_collator",
        "train_dataset",
        "eval_dataset",
        "tokenizer",
    ),
    "SFTTrainer": ("model", "args", "data_collator", "train_dataset", "eval_dataset"),
}
ARGUMENTS = frozenset({"TrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig"})
_PREFERENCES = re.compile(
    r"^(?:DPO|PPO|GRPO|KTO|ORPO|CPO|RLOO|Reward|BCO|XPO|Nash\w*|GKD)(?:v2)?Trainer$"
)
_LOADERS = re.compile(
    r"(?:Auto|\w+For|\w*LM\w*|Fast)\w*(?:Model|LM|Classification)\w*\.from_pretrained$"
)
_OTHER_MODELS = re.compile(
    r"For(?:Seq2SeqLM|ConditionalGeneration|MaskedLM|TokenClassification|QuestionAnswering|ImageClassification|"
    r"SpeechSeq2Seq|Vision2Seq|CTC|MultipleChoice)\.from_pretrained$|(?:UNet\w+|DiffusionPipeline)\.from_pretrained$"
)
_WRAPPERS = frozenset(
    {"get_peft_model", "prepare_model_for_kbit_training", "prepare_model_for_int8_training"}
)
_COLUMN = re.compile(r"^\w+\[['\"](\w[\w -]*)['\"]\](?:\.tolist\(\))?$")
_OTHER_TRAINERS = re.compile(
    r"^(?:pytorch_lightning|lightning|pl|L|composer|ray|ultralytics|sentence_transformers|setfit|flair|spacy|keras|paddlenlp|mindnlp)\."
)


@dataclass(frozen=True)
class Seen:
    """Everything that was noted on the walk."""

    calls: tuple[Made, ...]
    imports: tuple[Made, ...]
    settings: tuple[Setting, ...]
    derived: tuple[Derived, ...]
    """Classes that build on the library's."""
    doubts: tuple[Unknown, ...]
    """Names that depend on a condition."""
    cuts: tuple[Given, ...] = ()
    """Where lists of tokens are cut by hand, and to how many."""


@dataclass(frozen=True)
class Script:
    """A script as far as it can be read without running it."""

    path: Path
    source: Source
    kind: Literal["trainer", "sft", "preparation"]
    seen: Seen
    trainer: Made | None = None
    arguments: Made | None = None
    """The call that makes the training arguments."""
    model: Made | None = None
    """The call that loads the model."""
    model_name: Given | None = None
    lora: Made | None = None
    quantization: Made | None = None
    train: Rows | None = None
    validation: Rows | None = None
    test: Rows | None = None
    train_last: Given | None = None
    """How many of the last layers are trained; below 0: how many of the first are frozen."""
    labels: bool = False
    """Whether something in the script makes labels."""

    def find(self, *names: str) -> Made | None:
        """Return the first call of one of these functions or classes."""
        return next((call for call in self.seen.calls if call.last in names), None)

    def find_loader(self, of: str) -> Made | None:
        """Return the call of `from_pretrained` of a class whose name holds `of`."""
        loaders = (call for call in self.seen.calls if call.last == "from_pretrained")
        return next((call for call in loaders if of in call.name), None)

    def part(self, name: str) -> Given | None:
        """Return what was given to the trainer under `name`."""
        if self.trainer is None:
            return None
        places = TRAINERS[self.trainer.last]
        return self.trainer.get(name, places.index(name) if name in places else None)

    @property
    def tokenizing(self) -> tuple[Made, ...]:
        """The calls of a tokenizer on text."""
        marks = {"truncation", "padding", "pad_to_max_length"}
        return tuple(
            call
            for call in self.seen.calls
            if marks & call.named.keys()
            and not call.last.startswith(("DataCollator", "AutoTokenizer"))
        )

    @property
    def text_column(self) -> str | None:
        """The column that is given to the tokenizer, when it is named there."""
        for call in self.tokenizing:
            first = call.get("text", 0)
            if first is not None and isinstance(first.value, Unknown):
                found = _COLUMN.search(first.value.code)
                return found[1] if found else None
        return None

    @property
    def joins_texts(self) -> bool:
        """Whether the script joins its texts and cuts them into blocks of one length."""
        return self.source.mentions("group_texts", "block_size", "concatenated_examples")

    @property
    def built_text(self) -> Given | None:
        """The text given to the tokenizer, when the script puts it together itself."""
        for call in self.tokenizing:
            first = call.get("text", 0)
            if first is not None and isinstance(first.value, Unknown):
                code = first.value.code
                return None if _COLUMN.search(code) or "[" not in code else first
        return None

    @property
    def frozen(self) -> Given | None:
        """The place where weights are frozen by hand."""
        for setting in self.seen.settings:
            if setting.target == ".requires_grad" and setting.value is False:
                return Given(False, setting.line)
        for call in self.seen.calls:
            first = call.get("requires_grad", 0)
            if call.last == "requires_grad_" and first is not None and first.value is False:
                return Given(False, call.line)
        return None


def read_script(path: Path) -> Script:
    """Read a script or a notebook without running it.

    Raises:
        UnreadableError: It is not Python 3, or not text.
        NotPossibleError: It trains nothing, or in a way that the tutor has no skill for.
    """
    source = parse_source(path)
    walker = Walker()
    try:
        walker.walk(source.tree)
    except RecursionError:
        raise NotPossibleError(
            f"{path} nests its expressions too deeply to be read. Split the longest ones.",
            f"{path} 的表达式嵌套过深，无法阅读。请把最长的几个拆开。",
        ) from None
    seen = Seen(
        tuple(walker.calls),
        tuple(walker.imports),
        tuple(walker.settings),
        tuple(walker.derived),
        tuple(walker.doubts),
        tuple(walker.cuts),
    )
    _refuse_other_training(path, source, seen.calls)
    trainer = _last(seen.calls, frozenset(TRAINERS))
    if trainer is None:
        return _without_trainer(path, source, seen)
    return _with_trainer(path, source, seen, trainer)


def _with_trainer(path: Path, source: Source, seen: Seen, trainer: Made) -> Script:
    calls, model = seen.calls, _model(trainer, seen.calls)
    places = TRAINERS[trainer.last]
    parts = {name: trainer.get(name, index) for index, name in enumerate(places)}
    given = parts["args"]
    arguments = given.value if given and isinstance(given.value, Made) else _last(calls, ARGUMENTS)
    train = _rows(parts["train_dataset"]) or _only_rows(calls)
    direct = parts["model"]
    name = model.get("pretrained_model_name_or_path", 0) if model else None
    if name is None and model is not None:
        name = model.get("model_name")
    if name is None and direct is not None and isinstance(direct.value, str | Unknown):
        name = direct
    return Script(
        path=path,
        source=source,
        kind="sft" if trainer.last == "SFTTrainer" else "trainer",
        seen=seen,
        trainer=trainer,
        arguments=arguments,
        model=model,
        model_name=name,
        lora=_lora(trainer, calls),
        quantization=_quantization(calls, model),
        train=train,
        validation=_rows(parts["eval_dataset"]),
        test=_test(calls, train),
        train_last=trained_last(source.tree),
        labels=_makes_labels(source.tree, calls, trainer),
    )


def _without_trainer(path: Path, source: Source, seen: Seen) -> Script:
    calls = seen.calls
    backward = next((call for call in calls if call.last == "backward"), None)
    if backward is not None:
        where = source.where(backward.line)
        raise NotPossibleError(
            f"{path} trains in a loop of its own ({where.en}: {source.code(backward.line)!r}). `tutor migrate` reads scripts built "
            "on Trainer or SFTTrainer; give your model and data to `tutor plan --model … --data …` instead.",
            f"{path} 用自己写的循环训练（{where.zh}：{source.code(backward.line)!r}）。`tutor migrate` 只能读取基于 Trainer 或 "
            "SFTTrainer 的脚本；请改用 `tutor plan --model … --data …`，给出模型和数据。",
        )
    reads = [
        c for c in calls if c.last in {"read_csv", "load_dataset", "read_json", "read_parquet"}
    ]
    if any(map(is_writer, calls)) and reads:
        first = next(c.owner for c in calls if is_writer(c))
        rows = [c.owner for c in calls if is_writer(c) and isinstance(c.owner, Rows)]
        shares = sorted(each.share for each in rows if each.share)
        train = (
            replace(first, held=shares[0] if shares else None) if isinstance(first, Rows) else None
        )
        return Script(path, source, "preparation", seen, train=train)
    raise NotPossibleError(
        f"{path} trains nothing: no Trainer, Seq2SeqTrainer or SFTTrainer is made in it. Give the script that calls train().",
        f"{path} 中没有训练：没有创建 Trainer、Seq2SeqTrainer 或 SFTTrainer。请给出调用 train() 的那个脚本。",
    )


def _refuse_other_training(path: Path, source: Source, calls: tuple[Made, ...]) -> None:
    for call in calls:
        foreign = call.last.endswith("Trainer") and _OTHER_TRAINERS.match(call.name)
        if not (foreign or _PREFERENCES.match(call.last) or _OTHER_MODELS.search(call.name)):
            continue
        where, name = (
            source.where(call.line),
            call.name if foreign else call.name.removesuffix(".from_pretrained").rsplit(".", 1)[-1],
        )
        raise NotPossibleError(
            f"{path}, {where.en}: {name} is not supported. The tutor trains causal language models and sequence "
            "classifiers on examples (Trainer, SFTTrainer).",
            f"{path} {where.zh}：不支持 {name}。导师只用样本训练因果语言模型和序列分类器（Trainer、SFTTrainer）。",
        )


def _last(calls: tuple[Made, ...], names: frozenset[str]) -> Made | None:
    return next(
        (call for call in reversed(calls) if call.last in names and call.owner is None), None
    )


def _rows(given: Given | None) -> Rows | None:
    return given.value if given is not None and isinstance(given.value, Rows) else None


def _only_rows(calls: tuple[Made, ...]) -> Rows | None:
    """Return the data of the script when the trainer's own could not be followed."""
    found = [
        rows
        for rows in map(rows_of, (c for c in calls if c.owner is None))
        if isinstance(rows, Rows)
    ]
    paths = {rows.paths for rows in found}
    return found[0] if len(paths) == 1 else None


def _model(trainer: Made, calls: tuple[Made, ...]) -> Made | None:
    """Return the call that loads the model, looking through wrappers."""
    given = trainer.get("model", 0) or trainer.get("model_init")
    value = given.value if given else None
    for _ in range(5):
        if not isinstance(value, Made):
            break
        if value.last == "from_pretrained" or value.last == "from_config":
            return value
        inner = value.get("model", 0)
        value = inner.value if inner is not None else None
    if isinstance(value, str):
        return None
    return next((call for call in calls if _LOADERS.search(call.name)), None)


def _lora(trainer: Made, calls: tuple[Made, ...]) -> Made | None:
    given = trainer.get("peft_config")
    if given is not None and isinstance(given.value, Made):
        return given.value
    fast = next((c for c in calls if c.name.endswith("FastLanguageModel.get_peft_model")), None)
    return fast or next((call for call in calls if call.last == "LoraConfig"), None)


def _quantization(calls: tuple[Made, ...], model: Made | None) -> Made | None:
    given = model.get("quantization_config") if model else None
    if given is not None and isinstance(given.value, Made):
        return given.value
    if model is not None and {"load_in_4bit", "load_in_8bit"} & model.named.keys():
        return model
    return (
        None
        if model is not None
        else next((c for c in calls if c.last == "BitsAndBytesConfig"), None)
    )


def _test(calls: tuple[Made, ...], train: Rows | None) -> Rows | None:
    """Return the test split: a split of that name beside the training rows, or what evaluate is given."""
    for call in calls:
        if call.last in {"evaluate", "predict"}:
            rows = _rows(call.get("eval_dataset", 0) or call.get("test_dataset"))
            if rows is not None and rows.split == "test" and rows.paths:
                return rows
    if train is not None and train.files.get("test") and train.held is None:
        return train.part("test")
    return None


def _makes_labels(tree: ast.Module, calls: tuple[Made, ...], trainer: Made) -> bool:
    if trainer.last == "SFTTrainer":
        return True
    if any(call.last == "DataCollatorForLanguageModeling" for call in calls):
        return True
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in {"labels", "label", "label_ids"}:
            return True
        if isinstance(node, ast.keyword) and node.arg in {"labels", "text_target"}:
            return True
    return False
