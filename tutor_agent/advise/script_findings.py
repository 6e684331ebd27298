"""What breaks in an old script today, what goes wrong without a word, and what is unwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text
from tutor_agent.library.renamed import Changed, renamed_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.probe.script import Script
    from tutor_agent.probe.script_values import Made

Severity = Literal["breaks", "wrong", "unwise", "unknown", "note"]
SEVERITIES: tuple[Severity, ...] = ("breaks", "wrong", "unwise", "unknown", "note")
_REMOTE = Text(
    en="Remove it: the model's own class in transformers is used, and no code from the repository runs.",
    zh="删掉它：使用 transformers 自带的模型类，不运行仓库里的代码。",
)


class ScriptFinding(Contract):
    """One thing in a script that a person must know."""

    severity: Severity
    """breaks: stops with an error; wrong: trains something else than meant; unwise; unknown; note."""
    kind: str
    """What it is, in a word."""
    line: int
    """Line of the script; for a notebook, of its joined code."""
    where: Text
    """The place in words."""
    code: str
    """The line itself."""
    text: Text
    """What happens."""
    todo: Text
    """What to do."""


class Noter:
    """Makes findings about one script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def note(
        self, severity: Severity, kind: str, line: int, text: Text, todo: Text
    ) -> ScriptFinding:
        """Make a finding."""
        source = self.script.source
        return ScriptFinding(
            severity=severity,
            kind=kind,
            line=line,
            where=source.where(line),
            code=source.code(line),
            text=text,
            todo=todo,
        )


def text_findings(script: Script) -> Iterator[ScriptFinding]:
    """Return everything that shows in the text of the script alone."""
    noter = Noter(script)
    yield from _renamed_arguments(noter)
    yield from _renamed_names(noter)
    yield from _labels(noter)
    yield from _padding(noter)
    yield from _pad_is_end(noter)
    yield from _remote_code(noter)
    yield from _own_parts(noter)
    yield from _doubts(noter)


def _renamed_arguments(noter: Noter) -> Iterator[ScriptFinding]:
    for call in noter.script.seen.calls:
        for owner in _owners(noter.script, call):
            changed = renamed_table().argument_changes(owner)
            if changed is not None:
                yield from _old_arguments(noter, call, changed)


def _owners(script: Script, call: Made) -> tuple[str, ...]:
    """Return under which names of the table a call's arguments are looked up."""
    if call.last in {"TrainingArguments", "Seq2SeqTrainingArguments"}:
        return ("TrainingArguments",)
    if call.last == "SFTConfig":
        return ("TrainingArguments", "SFTConfig")
    if call.last in {"Trainer", "Seq2SeqTrainer"}:
        return ("Trainer",)
    if call.last in {"SFTTrainer", "from_pretrained", "load_dataset"}:
        # Unsloth's loader takes arguments of its own under the old names.
        return () if "FastLanguageModel" in call.name or "FastModel" in call.name else (call.last,)
    if call.last == "train" and call.owner is script.trainer and call.owner is not None:
        return ("Trainer.train",)
    return ("tokenizer",) if call in script.tokenizing else ()


def _old_arguments(noter: Noter, call: Made, changed: Changed) -> Iterator[ScriptFinding]:
    for name, given in call.named.items():
        if name not in changed.successors:
            continue
        new = changed.successors[name]
        where = f"{changed.of}({name}=…)"
        if name in changed.still_taken:
            text = Text(en=f"{where} is deprecated.", zh=f"{where} 已弃用。")
            yield noter.note("note", "renamed", given.line, text, _rename(name, new))
        else:
            release = f"{changed.package} {changed.since[name]}"
            text = Text(
                en=f"{where} no longer exists since {release}: the script stops with an error.",
                zh=f"{release} 起已没有 {where}：脚本会报错中止。",
            )
            yield noter.note(
                "breaks",
                "renamed" if new else "removed",
                given.line,
                text,
                _rename(name, new),
            )


_SPECIAL = {
    "warmup_ratio": ("warmup_steps (below 1 it is a ratio)", "warmup_steps（小于 1 时表示比例）"),
    "group_by_length": (
        'train_sampling_strategy="group_by_length"',
        'train_sampling_strategy="group_by_length"',
    ),
    "adafactor": ('optim="adafactor"', 'optim="adafactor"'),
    "use_flash_attention_2": (
        'attn_implementation="flash_attention_2"',
        'attn_implementation="flash_attention_2"',
    ),
    "load_in_4bit": (
        "quantization_config=BitsAndBytesConfig(load_in_4bit=True)",
        "quantization_config=BitsAndBytesConfig(load_in_4bit=True)",
    ),
    "load_in_8bit": (
        "quantization_config=BitsAndBytesConfig(load_in_8bit=True)",
        "quantization_config=BitsAndBytesConfig(load_in_8bit=True)",
    ),
    "pad_to_max_length": ('padding="max_length"', 'padding="max_length"'),
}


_REMOVED = {
    "logging_dir": Text(
        en="Remove it; the environment variable TENSORBOARD_LOGGING_DIR says where TensorBoard writes.",
        zh="删掉它；TensorBoard 的目录改由环境变量 TENSORBOARD_LOGGING_DIR 指定。",
    ),
    "TextDataset": Text(
        en="Read the file with load_dataset instead.", zh="改用 load_dataset 读取文件。"
    ),
    "LineByLineTextDataset": Text(
        en="Read the file with load_dataset instead.", zh="改用 load_dataset 读取文件。"
    ),
    "load_metric": Text(
        en="Use the package evaluate, or the plan's evaluation.metrics.",
        zh="改用 evaluate 包，或计划中的 evaluation.metrics。",
    ),
    "DataCollatorForCompletionOnlyLM": Text(
        en="Use SFTConfig(completion_only_loss=True); a plan learns answers only by data.supervise assistant.",
        zh="改用 SFTConfig(completion_only_loss=True)；计划中由 data.supervise 设为 assistant 来只学回答。",
    ),
}


def _rename(name: str, new: str | None) -> Text:
    if name in _SPECIAL:
        english, chinese = _SPECIAL[name]
        return Text(en=f"Write {english} instead.", zh=f"改为：{chinese}。")
    if new is None:
        return _REMOVED.get(name, Text(en="Remove it.", zh="删掉它。"))
    return Text(en=f"Write {new} instead.", zh=f"改写为 {new}。")


def _renamed_names(noter: Noter) -> Iterator[ScriptFinding]:
    for seen in noter.script.seen.imports:
        package = seen.name.split(".")[0]
        changed = renamed_table().name_changes(package)
        if changed is not None and seen.last in changed.successors:
            yield _old_name(noter, seen, changed, "ImportError")
    methods = renamed_table().name_changes("tokenizer")
    for call in noter.script.seen.calls:
        if methods is not None and call.last in methods.successors and call.last != call.name:
            yield _old_name(noter, call, methods, "AttributeError")


def _old_name(noter: Noter, seen: Made, changed: Changed, error: str) -> ScriptFinding:
    new, name = changed.successors[seen.last], f"{changed.of}.{seen.last}"
    release = f"{changed.package} {changed.since[seen.last]}"
    text = Text(
        en=f"{name} no longer exists since {release}: the script stops with an {error}.",
        zh=f"{release} 起已没有 {name}：脚本会以 {error} 中止。",
    )
    todo = Text(en=f"Use {new}.", zh=f"改用 {new}。") if new else _rename(seen.last, None)
    return noter.note("breaks", "renamed" if new else "removed", seen.line, text, todo)


def _labels(noter: Noter) -> Iterator[ScriptFinding]:
    script = noter.script
    if script.trainer is None or script.labels or not script.tokenizing:
        return
    if script.model is not None and "ForSequenceClassification" in script.model.name:
        # Trainer takes the data's own column `label` for labels.
        return
    line = script.tokenizing[0].line
    text = Text(
        en="No labels are made: the model returns no loss, and Trainer stops with “the model did not return a loss”.",
        zh="没有生成 labels：模型不返回损失，Trainer 会以 “the model did not return a loss” 中止。",
    )
    todo = Text(
        en="Add labels = input_ids with padding set to -100; a plan of the tutor makes and checks labels by itself.",
        zh="加上 labels = input_ids，并把填充位置设为 -100；用导师的计划则会自动生成并检查标签。",
    )
    yield noter.note("breaks", "no-labels", line, text, todo)


def _padding(noter: Noter) -> Iterator[ScriptFinding]:
    for call in noter.script.tokenizing:
        padding, length = call.get("padding"), call.get("max_length")
        if padding is None or padding.value != "max_length":
            continue
        if length is None:
            text = Text(
                en="padding='max_length' without max_length: the tokenizer's model_max_length counts. Where it is unset, nothing "
                "is padded or cut; where it is large (1,048,576 on a DeepSeek tokenizer), every row becomes that long.",
                zh="padding='max_length' 却没有 max_length：此时以分词器的 model_max_length 为准。若未设置，则既不填充也不截断；"
                "若很大（DeepSeek 分词器为 1,048,576），每一行都会被填到那么长。",
            )
        else:
            text = Text(
                en="padding='max_length' pads every row to the full length: most of the compute goes into padding.",
                zh="padding='max_length' 把每一行都填到最大长度：大部分算力花在填充上。",
            )
        todo = Text(
            en="Pad each batch to its longest row only, and set max_length; a plan does both.",
            zh="只把每个批次填到其中最长的一行，并设置 max_length；计划会同时做到这两点。",
        )
        yield noter.note(
            "wrong" if length is None else "unwise", "padding", padding.line, text, todo
        )


def _pad_is_end(noter: Noter) -> Iterator[ScriptFinding]:
    script = noter.script
    collator = script.find("DataCollatorForLanguageModeling")
    if collator is None:
        return
    masked = collator.get("mlm", 1)
    if masked is None or masked.value is True:
        text = Text(
            en="mlm is on (its default): a causal model would be trained on masked words, which is not what it is for.",
            zh="mlm 处于打开状态（默认值）：因果模型会被拿去做掩码词训练，这不是它的用途。",
        )
        todo = Text(en="Write mlm=False.", zh="写成 mlm=False。")
        yield noter.note("wrong", "masked-words", collator.line, text, todo)
    for setting in script.seen.settings:
        if setting.target in {".pad_token", ".pad_token_id"} and "eos_token" in setting.code:
            text = Text(
                en="The padding token is the end token, and DataCollatorForLanguageModeling masks every padding token: the model "
                "never learns to stop.",
                zh="填充符就是结束符，而 DataCollatorForLanguageModeling 会屏蔽所有填充符：模型学不会停下来。",
            )
            todo = Text(
                en="Mask by the attention mask instead; a plan does, and checks that the end token is learnt.",
                zh="应按注意力掩码来屏蔽；计划就是这样做的，并会检查结束符确实参与学习。",
            )
            yield noter.note("wrong", "pad-is-end", setting.line, text, todo)
            return


def _remote_code(noter: Noter) -> Iterator[ScriptFinding]:
    for call in noter.script.seen.calls:
        given = call.get("trust_remote_code")
        if given is not None and given.value is not False:
            text = Text(
                en="trust_remote_code=True runs code from the model's repository on this machine.",
                zh="trust_remote_code=True 会在本机运行模型仓库里的代码。",
            )
            yield noter.note("unwise", "remote-code", given.line, text, _REMOTE)
            return


def _own_parts(noter: Noter) -> Iterator[ScriptFinding]:
    for derived in noter.script.seen.derived:
        if derived.base.endswith("Trainer") and derived.methods:
            names = ", ".join(derived.methods)
            text = Text(
                en=f"{derived.name} overrides {names}; a plan cannot carry code of your own.",
                zh=f"{derived.name} 重写了 {names}；计划无法带上你自己的代码。",
            )
            todo = Text(
                en="Compare what it does with the plan; for a loss of your own write a skill (CONTRIBUTING.md).",
                zh="请对照计划看它做了什么；若要自定义损失，请编写技能（见 CONTRIBUTING.md）。",
            )
            yield noter.note("unknown", "own-code", derived.line, text, todo)
    yield from _own_format(noter)
    metrics = noter.script.part("compute_metrics")
    if metrics is not None:
        text = Text(
            en="compute_metrics is your own code and is not carried over.",
            zh="compute_metrics 是你自己的代码，不会带入计划。",
        )
        todo = Text(
            en="Name the metrics in evaluation.metrics: accuracy, f1, rougeL, bleu …",
            zh="在 evaluation.metrics 中写出指标：accuracy、f1、rougeL、bleu 等。",
        )
        yield noter.note("note", "own-metrics", metrics.line, text, todo)


def _own_format(noter: Noter) -> Iterator[ScriptFinding]:
    built = noter.script.built_text or noter.script.part("formatting_func")
    if built is None:
        return
    text = Text(
        en="The text is put together by your own code. A plan builds it from the columns, in the form the model was trained on, "
        "and learns the answers only.",
        zh="这里用你自己的代码拼接文本。计划会按模型训练时的格式由各列生成文本，并且只学习回答部分。",
    )
    todo = Text(
        en="Look at a sample of the plan; data.columns names the columns, data.supervise what is learnt.",
        zh="请查看计划给出的样本；data.columns 指定各列，data.supervise 指定学习哪部分。",
    )
    yield noter.note("note", "own-format", built.line, text, todo)


def _doubts(noter: Noter) -> Iterator[ScriptFinding]:
    for doubt in noter.script.seen.doubts:
        text = Text(
            en=f"What holds here depends on a condition: {doubt.code}. It was not decided.",
            zh=f"这里取什么值取决于条件：{doubt.code}。未作判断。",
        )
        todo = Text(en="Check the plan for it.", zh="请在计划中核对。")
        yield noter.note("unknown", "condition", doubt.line, text, todo)
    arguments = noter.script.arguments
    if arguments is not None and arguments.open:
        text = Text(
            en="Some training arguments come from outside the script (command line or **kwargs that cannot be read).",
            zh="部分训练参数来自脚本之外（命令行，或无法读取的 **kwargs）。",
        )
        todo = Text(en="Check the plan's values.", zh="请核对计划中的取值。")
        yield noter.note("unknown", "outside", arguments.line, text, todo)
