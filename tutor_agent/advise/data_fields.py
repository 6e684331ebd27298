"""What is read, how much of it, and which part is learnt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.heads import usual_head
from tutor_agent.advise.situation import Field, Fields, Situation, because

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.facts import ModelFacts

HELD_OUT_ROWS = 1000
_LONGEST_ON_CPU = 512
_LONGEST_ON_GPU = 4096
_PACK_FROM = 1000
_PIECE_OF_TEXT = 1024
_SPARE_FOR_ESTIMATES = 1.15
_USUAL_BATCH = 4
_MUCH_PADDING = 0.15
_UNPACKABLE = frozenset({"deepseek_v32", "deepseek_v4"})


def data_fields(situation: Situation) -> Fields:
    """Return every field of `data`."""
    facts = situation.facts.data
    max_length = usual_max_length(situation)
    return {
        "data.train": Field(
            facts.path,
            because(
                f"The file you named: {facts.rows} usable rows.",
                f"你给出的文件：{facts.rows} 行可用。",
                source=src.ASKED,
                card="data-formats",
            ),
        ),
        "data.validation": _own_file("validation", "验证", "data.validation"),
        "data.test": _own_file("test", "测试", "data.test"),
        "data.holdout": _holdout(facts.rows),
        "data.format": Field(
            facts.format,
            because(
                f"The columns say so: {', '.join(c.name for c in facts.columns)}.",
                f"由列名判断：{'、'.join(c.name for c in facts.columns)}。",
                source=src.FACTS,
                card="data-formats",
                other=(
                    "Name another format when the sample shown beside is read wrongly.",
                    "若旁边的样本显示读错了，请改成其他格式。",
                ),
            ),
        ),
        **_columns(situation),
        "data.max_length": _max_length(situation, max_length),
        "data.packing": _packing(situation, max_length),
        "data.batching": _batching(situation, max_length),
        "data.supervise": _supervise(situation),
        "data.limit": Field(
            None,
            because(
                "All rows are used.",
                "使用全部数据。",
                source=src.FACTS,
                card="data-amount",
                other=(
                    "A few hundred for a quick trial; the gain per row falls off slowly.",
                    "快速试跑时取几百行；每行带来的收益递减较慢。",
                ),
            ),
        ),
    }


def usual_max_length(situation: Situation) -> int:
    """Return a length that keeps the samples whole, or all but the longest few, within reason."""
    lengths, shape = situation.facts.data.lengths, situation.facts.model.shape
    spare = 1.0 if lengths.exact else _SPARE_FOR_ESTIMATES
    most = _LONGEST_ON_CPU if situation.cpu else _LONGEST_ON_GPU
    if shape.max_positions:
        most = min(most, shape.max_positions)
    if situation.facts.data.format == "text":
        most = min(most, _PIECE_OF_TEXT)
    covers_all = lengths.longest <= 2 * lengths.p95
    wanted = (lengths.longest if covers_all else lengths.p95) * spare
    return max(32, min(most, 32 * math.ceil(wanted / 32)))


def usual_packing(situation: Situation, max_length: int) -> bool:
    """Return whether samples are joined: text always, short samples when enough sequences remain."""
    if usual_head(situation) == "classifier" or cannot_pack(situation.facts.model):
        return False
    if situation.task == "pretraining":
        return True
    mean = situation.lengths.mean(max_length)
    sequences = situation.facts.data.rows * mean / max_length
    return mean < 0.5 * max_length and sequences >= _PACK_FROM


def cannot_pack(model: ModelFacts) -> bool:
    """Return whether packed samples would read each other: sparse attention chooses among all tokens."""
    return model.model_type in _UNPACKABLE


def holdout_share(rows: int) -> float:
    """Return the share put aside for validation, and again for the test."""
    return 0.1 if rows <= 10 * HELD_OUT_ROWS else max(0.01, round(HELD_OUT_ROWS / rows, 2))


def usual_units(situation: Situation) -> int:
    """Return how many sequences an epoch has when the data fields stay as advised."""
    rows, length = situation.facts.data.rows, usual_max_length(situation)
    left = max(1, rows - 2 * round(rows * holdout_share(rows)))
    packing = usual_packing(situation, length)
    return packed_rows(situation, left, packing=packing, max_length=length)


def packed_rows(situation: Situation, rows: int, *, packing: bool, max_length: int) -> int:
    """Return how many sequences an epoch has: rows, or what packing leaves of them."""
    if not packing:
        return rows
    data = situation.facts.data
    whole = data.lengths.longest if data.format == "text" else max_length
    return max(1, math.ceil(rows * situation.lengths.mean(whole) / max_length))


def _own_file(name: str, chinese: str, path: str) -> Field:
    return Field(
        None,
        because(
            f"No {name} file was named, so rows of the training file are put aside; rows with the same content stay "
            "together, so that none is on both sides.",
            f"没有单独的{chinese}文件，因此从训练文件中留出一部分；内容相同的行放在一起，不会两边都有。",
            source=f"{src.GUIDE}: split 8:1:1",
            card="split",
            other=(
                f"Name a file in {path} when it was collected later or elsewhere: that tests more honestly.",
                f"若有后来或别处收集的数据，请写在 {path}，评估更可信。",
            ),
        ),
    )


def _holdout(rows: int) -> Field:
    value = holdout_share(rows)
    reason = (
        (
            f"10 % for validation and 10 % for the test leave 80 % of {rows} rows to learn from: the guide's 8:1:1.",
            f"验证 10%、测试 10%，{rows} 行中留 80% 用于训练，即指南的 8:1:1。",
        )
        if value == 0.1
        else (
            f"{value:.0%} of {rows} rows is {round(rows * value)} already: enough for a steady figure. The guide's 10 % "
            "would only take rows away from learning.",
            f"{rows} 行的 {value:.0%} 已有 {round(rows * value)} 行，足以得到稳定的数字；指南的 10% 只会减少训练数据。",
        )
    )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.GUIDE}: 8:1:1; {src.ESFT}: 98/2",
            card="split",
            other=("0.2 when there are fewer than 100 rows.", "不足 100 行时可用 0.2。"),
        ),
    )


def _columns(situation: Situation) -> Fields:
    roles = situation.facts.data.roles
    if not roles:
        empty: JsonValue = {}
        why = because(
            "The format has fixed names.",
            "该格式的列名是固定的。",
            source=src.FACTS,
            card="data-formats",
        )
        return {"data.columns": Field(empty, why)}
    return {
        f"data.columns.{role}": Field(
            column,
            because(
                f"The column {column!r} plays the part {role!r}, by its name and its content.",
                f"根据名称和内容，列 {column!r} 充当 {role!r}。",
                source=src.FACTS,
                card="csv-preparation",
                other=(
                    "Name another column when the sample shown beside is read wrongly.",
                    "若旁边的样本显示读错了，请改成其他列。",
                ),
            ),
        )
        for role, column in roles.items()
    }


def _max_length(situation: Situation, value: int) -> Field:
    lengths = situation.facts.data.lengths
    text = situation.facts.data.format == "text"
    cut = 0.0 if text else situation.lengths.share_cut(value)
    outcome = (
        ("longer texts become several pieces", "更长的文本会分成几段")
        if text
        else (
            f"{value} cuts about {cut:.0%} of them, at the prompt, never at the answer",
            f"取 {value} 会截断约 {cut:.0%}，只截提示部分，不截答案",
        )
    )
    counted = ("counted", "实测") if lengths.exact else ("estimated", "估算")
    return Field(
        value,
        because(
            f"Samples have {lengths.p50} tokens in the middle, {lengths.p95} at the 95th percentile, {lengths.longest} at "
            f"most ({counted[0]}); {outcome[0]}. Batches are padded to their own longest sample only.",
            f"样本长度中位数 {lengths.p50}、95 分位 {lengths.p95}、最长 {lengths.longest} 个词元（{counted[1]}）；"
            f"{outcome[1]}。每个批次只填充到自身最长样本。",
            source=f"{src.FACTS}; {src.CPU_MEASURED}: padding to the batch is twice as fast as the guide's "
            "padding='max_length'",
            card="max-length",
            other=(
                f"{lengths.longest} keeps every sample whole, at more memory."
                if cut > 0
                else "Shorter when memory is short: it is the cheapest lever after the micro-batch.",
                f"取 {lengths.longest} 可保留全部内容，但更占显存。"
                if cut > 0
                else "显存不足时可缩短：这是仅次于微批量的最省代价的办法。",
            ),
        ),
    )


def _packing(situation: Situation, max_length: int) -> Field:
    rows, mean = situation.facts.data.rows, situation.lengths.mean(max_length)
    text = situation.task == "pretraining"
    sequences = math.ceil(rows * mean / max_length)
    value = usual_packing(situation, max_length)
    if cannot_pack(situation.facts.model):
        reason = (
            "Off: the sparse attention of this model chooses among all tokens of a sequence, and would look across packed "
            "samples.",
            "关闭：该模型的稀疏注意力在整条序列的词元中挑选，会越过打包样本的边界。",
        )
    elif text:
        reason = (
            "Text is joined to full sequences, so that no place is wasted on padding.",
            "把文本打包成满长序列，不浪费在填充上。",
        )
    elif usual_head(situation) == "classifier":
        reason = (
            "Off: a classifier reads its score at the last token of a text, so every text stands alone.",
            "关闭：分类头在文本的最后一个词元处读取分数，因此每条文本要单独成行。",
        )
    elif value:
        reason = (
            f"Samples fill {mean / max_length:.0%} of a sequence on average; joined without cross-talk they still make "
            f"{sequences} sequences.",
            f"样本平均只占序列的 {mean / max_length:.0%}；互不干扰地打包后仍有 {sequences} 条序列。",
        )
    else:
        reason = (
            f"Off: {rows} rows would shrink to about {sequences} sequences, and so to too few steps; padding to the "
            "batch's longest sample wastes little.",
            f"关闭：{rows} 行打包后只剩约 {sequences} 条序列，步数会太少；只填充到批内最长样本，浪费不大。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.CPU_MEASURED}: packed 2.4 and dynamic padding 2.05 times the speed of full padding, same loss",
            card="padding-and-packing",
            other=(
                "The other way round changes how many samples make a step: look at the batch again.",
                "切换后每步的样本数会变，请重新检查批量。",
            ),
        ),
    )


def padding_share(situation: Situation, max_length: int) -> float:
    """Return the share of a random batch that is padding."""
    lengths = situation.lengths
    return 1 - lengths.mean(max_length) / lengths.padded(max_length, _USUAL_BATCH)


def _batching(situation: Situation, max_length: int) -> Field:
    packed, share = usual_packing(situation, max_length), padding_share(situation, max_length)
    joined = situation.cpu and usual_head(situation) == "language_model"
    value = "by_length" if not packed and not joined and share >= _MUCH_PADDING else "random"
    if joined and not packed:
        reason = (
            "On a CPU the samples of a batch are joined end to end, each attended to by itself: nothing is padded, so "
            "nothing is gained by sorting.",
            "在 CPU 上，一批样本首尾相接、各自计算注意力，没有填充，按长度分批也就没有收益。",
        )
    elif packed:
        reason = (
            "Packed sequences are all full, so nothing is left to sort.",
            "打包后的序列都是满的，无需按长度分批。",
        )
    elif value == "by_length":
        reason = (
            f"Lengths vary: {share:.0%} of a random batch would be padding. Batches of similar lengths, in random order, "
            "avoid most of it.",
            f"样本长短不一：随机分批时约 {share:.0%} 是填充。把长度相近的放在一批、批次顺序仍随机，可避免其中大半。",
        )
    else:
        reason = (
            f"Lengths are alike: only {share:.0%} of a random batch is padding, and full randomness is worth more.",
            f"样本长度相近：随机分批时填充只占 {share:.0%}，完全随机更有价值。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.CPU_MEASURED}: 21 % of a random batch of 4 BoolQ passages is padding; {src.FACTS}",
            card="padding-and-packing",
            other=(
                "'by_length' when lengths vary and packing is off; 'random' when length goes with difficulty.",
                "长短不一且不打包时用 'by_length'；若长度与难度相关，用 'random'。",
            ),
        ),
    )


def _supervise(situation: Situation) -> Field:
    text = situation.task == "pretraining"
    reason = (
        (
            "Every token is learnt: the text itself is the goal.",
            "学习每个词元：文本本身就是目标。",
        )
        if text
        else (
            "Only answers carry loss; the model need not learn to write the questions. The guide's sample code sets no "
            "labels at all and would learn nothing.",
            "只有答案计入损失，模型不必学会写问题。指南的示例代码没有设置标签，什么也学不到。",
        )
    )
    return Field(
        "all" if text else "assistant",
        because(
            *reason,
            source="TRL and LLaMA-Factory SFT defaults; measured on the guide's preprocessing",
            card="label-masking",
            other=(
                "'last' when earlier turns of a conversation are poor examples.",
                "若对话的前几轮质量较差，可用 'last'。",
            ),
            assumed=situation.assumes("task"),
        ),
    )
