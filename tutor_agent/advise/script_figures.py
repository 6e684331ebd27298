"""What is unwise in the numbers of an old script, what could not be read, and names that do not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise.from_script import given_text, settings_of
from tutor_agent.advise.script_findings import Noter, ScriptFinding
from tutor_agent.core.text import Text
from tutor_agent.probe.script_data import is_writer
from tutor_agent.probe.script_values import Given, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.advise.carried import Carried
    from tutor_agent.core.facts import Machine
    from tutor_agent.probe.script import Script

_LARGE_BATCH = 64
_MANY_EPOCHS = 10
_CHECK = Text(en="Check the plan for it.", zh="请在计划中核对。")


def value_findings(script: Script, carried: Carried, machine: Machine) -> Iterator[ScriptFinding]:
    """Return what is unwise or contradictory in the training arguments."""
    noter, given = Noter(script), settings_of(script)
    yield from _large_batch(noter, given)
    yield from _many_epochs(noter, given)
    yield from _best_model(noter, given)
    yield from _early_stopping(noter, given)
    if "fp16" in given and given["fp16"].value is True and not machine.accelerators:
        yield noter.note(
            "breaks",
            "fp16-without-gpu",
            given["fp16"].line,
            Text(
                en="fp16=True needs a GPU; this machine has none.",
                zh="fp16=True 需要 GPU，这台机器没有。",
            ),
            Text(
                en="Train in fp32 here; on a GPU bf16 is safer.",
                zh="在这里用 fp32；有 GPU 时 bf16 更稳。",
            ),
        )
    yield from _left(noter, carried)


def _large_batch(noter: Noter, given: dict[str, Given]) -> Iterator[ScriptFinding]:
    batch = given.get("per_device_train_batch_size")
    if batch is None or not isinstance(batch.value, int) or batch.value < _LARGE_BATCH:
        return
    text = Text(
        en=f"{batch.value} samples a device at once: the activations of a large model do not fit, and few steps an epoch remain.",
        zh=f"每卡一次 {batch.value} 个样本：大模型的激活放不下，而且每轮只剩很少几步。",
    )
    todo = Text(
        en="Take a small micro-batch and accumulate to the same number: it gives the same gradient.",
        zh="用小的微批量加梯度累积凑到同样的数：梯度相同。",
    )
    yield noter.note("unwise", "large-batch", batch.line, text, todo)


def _many_epochs(noter: Noter, given: dict[str, Given]) -> Iterator[ScriptFinding]:
    epochs = given.get("num_train_epochs")
    if epochs is None or not isinstance(epochs.value, int | float) or epochs.value < _MANY_EPOCHS:
        return
    text = Text(
        en=f"{epochs.value:g} epochs: a language model usually starts to over-fit after 2 or 3.",
        zh=f"{epochs.value:g} 轮：语言模型通常在第 2～3 轮之后就开始过拟合。",
    )
    todo = Text(
        en="Take 1 to 3, or keep early stopping and the best checkpoint.",
        zh="取 1～3 轮，或保留早停和最佳检查点。",
    )
    yield noter.note("unwise", "many-epochs", epochs.line, text, todo)


def _best_model(noter: Noter, given: dict[str, Given]) -> Iterator[ScriptFinding]:
    best = given.get("load_best_model_at_end")
    if best is None or best.value is not True:
        return
    evaluating = given_text(given, "eval_strategy") or "no"
    saving = given_text(given, "save_strategy") or "steps"
    every, save = (
        given[name].value if name in given else 500 for name in ("eval_steps", "save_steps")
    )
    uneven = evaluating == saving == "steps" and not _is_multiple(save, every)
    if evaluating == saving and evaluating != "no" and not uneven:
        return
    if any(name in given and not given[name].known for name in ("eval_strategy", "save_strategy")):
        return
    text = Text(
        en=f"load_best_model_at_end needs equal strategies: evaluation is {evaluating!r}, saving {saving!r}"
        + (f", and save_steps {save} is no multiple of eval_steps {every}" if uneven else "")
        + ". The script stops with a ValueError.",
        zh=f"load_best_model_at_end 要求评估与保存策略一致：评估为 {evaluating!r}，保存为 {saving!r}"
        + (f"，且 save_steps {save} 不是 eval_steps {every} 的倍数" if uneven else "")
        + "。脚本会以 ValueError 中止。",
    )
    todo = Text(
        en="Give both the same strategy and interval; a plan has one interval for both.",
        zh="让两者策略与间隔相同；计划中两者共用一个间隔。",
    )
    yield noter.note("breaks", "best-model", best.line, text, todo)


def _is_multiple(save: object, every: object) -> bool:
    """Whether saving falls on evaluations; what is not two whole numbers is not judged."""
    if not isinstance(save, int) or not isinstance(every, int) or every < 1:
        return True
    return save % every == 0


def _early_stopping(noter: Noter, given: dict[str, Given]) -> Iterator[ScriptFinding]:
    stopping = noter.script.find("EarlyStoppingCallback")
    if stopping is None:
        return
    best = given.get("load_best_model_at_end")
    if given_text(given, "eval_strategy") in {"", "no"} or (best and best.value is False):
        text = Text(
            en="EarlyStoppingCallback needs evaluation during training (eval_strategy) and metric_for_best_model: without them it "
            "stops with an error or does nothing.",
            zh="EarlyStoppingCallback 需要训练中评估（eval_strategy）和 metric_for_best_model：缺少时会报错或不起作用。",
        )
        todo = Text(
            en="Set eval_strategy and load_best_model_at_end=True.",
            zh="设置 eval_strategy 和 load_best_model_at_end=True。",
        )
        yield noter.note("wrong", "early-stopping", stopping.line, text, todo)


_ELSEWHERE = {
    **dict.fromkeys(
        ("deepspeed", "fsdp", "fsdp_config"),
        Text(
            en="How the model is spread over GPUs is launch.sharding in a plan; it is chosen by what the machine has.",
            zh="模型如何分布到多张 GPU，在计划中由 launch.sharding 决定，并按机器条件选择。",
        ),
    ),
    "resume_from_checkpoint": Text(
        en="Going on with a run is `tutor resume` here, not part of a plan.",
        zh="继续训练在这里用 `tutor resume`，不写在计划中。",
    ),
}


def _left(noter: Noter, carried: Carried) -> Iterator[ScriptFinding]:
    for name, given in carried.left.items():
        value = f"={given.value!r}" if isinstance(given.value, str | int | float) else ""
        text = _ELSEWHERE.get(name) or Text(
            en=f"{name}{value} has no place in a plan and is not carried over.",
            zh=f"{name}{value} 在计划中没有对应项，不会带入。",
        )
        yield noter.note("note", "not-carried", given.line, text, _CHECK)


def unread_findings(script: Script, carried: Carried) -> Iterator[ScriptFinding]:
    """Return what only running the script would tell."""
    noter = Noter(script)
    for name, value in carried.unknown.items():
        text = Text(
            en=f"The value of {name} is not known without running the script: {value.code}.",
            zh=f"不运行脚本就无法知道 {name} 的值：{value.code}。",
        )
        todo = Text(
            en="The tutor's advice stands in; set it if you know it.",
            zh="由导师的建议代替；如果你知道，请自行设置。",
        )
        yield noter.note("unknown", "value", value.line, text, todo)
    if script.kind != "preparation":
        yield from _unread_data(noter, script.train)


def _unread_data(noter: Noter, rows: Rows | None) -> Iterator[ScriptFinding]:
    todo = Text(en="Give the file: --data FILE.", zh="请给出文件：--data 文件。")
    line = noter.script.trainer.line if noter.script.trainer else 1
    if rows is None:
        text = Text(
            en="Which file the training rows come from cannot be seen in the script.",
            zh="从脚本中看不出训练数据来自哪个文件。",
        )
        yield noter.note("unknown", "data", line, text, todo)
        return
    if rows.hub is not None:
        text = Text(
            en=f"{rows.hub!r} is a data set on the hub; the tutor reads files. Save it first: to_json('train.jsonl').",
            zh=f"{rows.hub!r} 是 Hub 上的数据集，而导师读取文件。请先保存：to_json('train.jsonl')。",
        )
        yield noter.note("unknown", "data", rows.line, text, todo)
    for hole in rows.unread:
        text = Text(
            en=f"The data file is not known without running the script: {hole.code}.",
            zh=f"不运行脚本就无法知道数据文件：{hole.code}。",
        )
        yield noter.note("unknown", "data", hole.line or rows.line, text, todo)
    if len(rows.paths) > 1:
        text = Text(
            en=f"{len(rows.paths)} training files; a plan reads one, so the first is taken: {', '.join(rows.paths)}.",
            zh=f"有 {len(rows.paths)} 个训练文件；计划只读一个，因此取第一个：{'、'.join(rows.paths)}。",
        )
        join = Text(
            en="Join them into one file and give it with --data.",
            zh="请合并成一个文件，并用 --data 给出。",
        )
        yield noter.note("unwise", "many-files", rows.line, text, join)


def missing_file(script: Script, name: str, line: int) -> ScriptFinding:
    """Return that a file the script reads is not here."""
    text = Text(en=f"{name} is not here.", zh=f"这里没有 {name}。")
    todo = Text(
        en="The plan puts part of the training rows aside instead; add data.validation or data.test when you have the file.",
        zh="计划改为从训练数据中留出一部分；有了该文件后可加上 data.validation 或 data.test。",
    )
    return Noter(script).note("breaks", "missing-file", line, text, todo)


def preparation_findings(script: Script) -> Iterator[ScriptFinding]:
    """Return what a data-preparation script does, and how a plan does it."""
    written = [call for call in script.seen.calls if is_writer(call)]
    first = next((c.owner for c in written if isinstance(c.owner, Rows)), None)
    if not written or first is None:
        return
    files = ", ".join(str(c.args[0].value) for c in written if c.args)
    raw = ", ".join(first.paths) or "?"
    shares = [c.owner.share for c in written if isinstance(c.owner, Rows) and c.owner.share]
    split = " / ".join(f"{share * 100:.0f}" for share in shares) or "–"
    cleaned = ", ".join(sorted(first.cleaned)) or "–"
    text = Text(
        en=f"Prepares data: {raw} → {files}; dropped: {cleaned}; shares {split} %.",
        zh=f"准备数据：{raw} → {files}；去除：{cleaned}；比例 {split} %。",
    )
    todo = Text(
        en="A plan on the raw file with data.holdout = 0.1 splits the same way, seeded; duplicates and rows without a value are "
        "reported by `tutor inspect data`.",
        zh="直接对原始文件做计划并设 data.holdout = 0.1，即可按同样比例、固定种子切分；重复行和缺值行由 `tutor inspect data` 报告。",
    )
    yield Noter(script).note("note", "preparation", written[0].line, text, todo)


def copy_finding(script: Script, name: str, original: str) -> ScriptFinding:
    """Return that a model is a quantised copy of another, which the plan takes."""
    line = script.model_name.line if script.model_name else 1
    text = Text(
        en=f"{name} is a copy of {original} in few bits.", zh=f"{name} 是 {original} 的低比特副本。"
    )
    todo = Text(
        en=f"The plan takes {original}; params.quantization nf4 holds it in 4 bits while training.",
        zh=f"计划采用 {original}；params.quantization 设为 nf4 时，训练中以 4 比特存放。",
    )
    return Noter(script).note("note", "model-copy", line, text, todo)


def model_findings(
    script: Script, better: str | None, near: tuple[str, ...], trouble: Text | None = None
) -> Iterator[ScriptFinding]:
    """Return what is wrong with the model's name."""
    if script.kind == "preparation":
        return
    noter, given = Noter(script), script.model_name
    if given is None or not isinstance(given.value, str) or not given.value.strip():
        line = given.line if given else script.model.line if script.model else 1
        text = Text(
            en="Which model is trained is not known without running the script.",
            zh="不运行脚本就无法知道训练哪个模型。",
        )
        yield noter.note(
            "unknown",
            "model",
            line,
            text,
            Text(en="Give it: --model NAME.", zh="请给出：--model 名称。"),
        )
        return
    name = given.value
    if trouble is not None:
        yield noter.note(
            "unknown",
            "model",
            given.line,
            trouble,
            Text(
                en="Check the name, or give another model: --model NAME.",
                zh="请核对名称，或用 --model 给出别的模型。",
            ),
        )
        return
    text = Text(en=f"No model is called {name!r}.", zh=f"没有名为 {name!r} 的模型。")
    listed = ", ".join(dict.fromkeys(near[:3]))
    todo = (
        Text(
            en=f"The plan takes {better}; near: {listed}.",
            zh=f"计划采用 {better}；相近的有：{listed}。",
        )
        if better
        else Text(
            en=f"Near: {listed or '–'}. Give one with --model.",
            zh=f"相近的有：{listed or '–'}。请用 --model 给出。",
        )
    )
    yield noter.note("breaks", "model-name", given.line, text, todo)
