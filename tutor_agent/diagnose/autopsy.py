"""The autopsy: what the kept scene of a halted step tells, as a short story.

The scene is what the guard wrote before a bad step could reach the weights: the losses of single rows,
the first module whose output was no number, the state of every weight and gradient.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

from tutor_agent.core.contract import Contract
from tutor_agent.core.redact import redact
from tutor_agent.core.text import Text
from tutor_agent.diagnose.kept import read_scene
from tutor_agent.diagnose.signs import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tutor_agent.diagnose.kept import KeptScene, Sample, Tensor

Culprit = Literal[
    "weights", "overflow", "grown", "sample", "masked", "forward", "backward", "diverged", "unknown"
]
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|base_model\.model\.)*(?:model\.(?=.))?")
_ENDINGS = re.compile(r"(?:\.base_layer|\.lora_[AB]\.\w+|\.(?:weight|bias))+$")
_BLOCK = re.compile(r".*?\.\d+\.")
_GROWN = 5.0
"""Root mean square above which a weight matrix is no pretrained one: those lie below 1."""
_ODD = 3.0
"""A row stands out from its step when its loss is so many times the median of the others."""
_QUOTED = 60
_RECENT = 3


class Autopsy(Contract):
    """The story of a halted step."""

    culprit: Culprit
    """What broke first."""
    story: tuple[Text, ...]
    """What happened, where, on which row, and what follows: a sentence each."""


def autopsy_of(run: Path) -> Autopsy | None:
    """Tell the scene in the run folder `run`; None where none was kept or it cannot be read."""
    scene = read_scene(run)
    return None if scene is None else tell(scene)


def tell(scene: KeptScene) -> Autopsy:
    """Name what broke first and tell it: what, where, which row, and what follows."""
    culprit = _culprit(scene)
    where = _WHERE[culprit](scene)
    found = (where, _grown_to(scene, culprit), _rows(scene, culprit))
    story = (_opening(scene), *found, _FOLLOWS.get(culprit))
    return Autopsy(culprit=culprit, story=tuple(text for text in story if text is not None))


def _culprit(scene: KeptScene) -> Culprit:
    if _bad(scene.weights):
        return "weights"
    if scene.reason == "diverged":
        return "diverged"
    if scene.first_non_finite:
        return _of_forward(scene)
    if _masked(scene):
        return "masked"
    if _bad(scene.gradients):
        half = any(_is_fp16(scene.gradients[name].dtype) for name in _bad(scene.gradients))
        return "overflow" if half else "grown" if _grown(scene) else "backward"
    return "unknown"


def _of_forward(scene: KeptScene) -> Culprit:
    if _is_fp16(scene.first_non_finite.get("dtype", "")):
        return "overflow"
    if _grown(scene):
        return "grown"
    broken = [sample for sample in scene.samples if _is_bad(sample.loss)]
    return "sample" if 0 < len(broken) < len(scene.samples) else "forward"


def _masked(scene: KeptScene) -> list[Sample]:
    """Return the rows without a loss although every output was a number: none of their tokens has one."""
    return [
        sample for sample in scene.samples if sample.loss is not None and math.isnan(sample.loss)
    ]


def _opening(scene: KeptScene) -> Text:
    broken = scene.reason == "non_finite_gradient"
    value = scene.grad_norm if broken else scene.loss
    name = Text(en="gradient", zh="梯度") if broken else Text(en="loss", zh="损失")
    before = [write(one) for one in scene.recent_losses[-_RECENT:]]
    place = (
        Text(en=f" on rank {scene.rank}", zh=f"（rank {scene.rank}）") if scene.ranks > 1 else None
    )
    en = f"Step {scene.step}{place.en if place else ''} was stopped before it touched the weights"
    zh = f"第 {scene.step} 步{place.zh if place else ''}在改动权重之前被拦下"
    then = Text(en=f": the {name.en} is {write(value)}", zh=f"：{name.zh}为 {write(value)}")
    tail = (
        Text(en=f"; losses before: {', '.join(before)}.", zh=f"；此前的损失：{'、'.join(before)}。")
        if before
        else _STOP
    )
    return Text(en=f"{en}{then.en}{tail.en}", zh=f"{zh}{then.zh}{tail.zh}")


def _in_weights(scene: KeptScene) -> Text:
    bad = _bad(scene.weights)
    first, count = bad[0], sum(scene.weights[name].non_finite for name in bad)
    more = len(bad) - 1
    others, others_zh = (f" and {more} more", f" 等 {more + 1} 处") if more else ("", "")
    return Text(
        en=f"The weights were broken already: {count} bad number{'s' if count > 1 else ''} in "
        f"{module(first)}{others}.",
        zh=f"权重本身已经坏了：{module(first)}{others_zh} 中有 {count} 个坏数。",
    )


def _in_numbers(scene: KeptScene) -> Text:
    """Say where a finite model gave an infinite number: forward or backward."""
    if not scene.first_non_finite:
        return _in_backward(scene)
    name, dtype = module(scene.first_non_finite.get("module", "")), _short(scene.first_non_finite)
    return Text(
        en=f"Forward pass: {name} is the first whose output is no number ({dtype}).",
        zh=f"前向计算：{name} 最先输出非数值（{dtype}）。",
    )


def _in_backward(scene: KeptScene) -> Text:
    bad, names = _bad(scene.gradients), list(scene.gradients)
    last, share, loss = module(_last_block(bad)), f"{len(bad)}/{len(names)}", write(scene.loss)
    return Text(
        en=f"Forward pass finite (loss {loss}); backwards it broke at {last}, {share} gradients are no numbers.",
        zh=f"前向计算正常（损失 {loss}）；反向传播在 {last} 处出错，{share} 个梯度不是数值。",
    )


def _last_block(names: list[str]) -> str:
    """Return the last of `names`; of its block rather a matrix than a norm, which stand in any order."""
    block = _BLOCK.match(names[-1])
    beside = [n for n in names if block and n.startswith(block[0]) and "norm" not in n]
    return beside[-1] if beside else names[-1]


def _grown_to(scene: KeptScene, culprit: Culprit) -> Text | None:
    if culprit != "grown":
        return None
    name, tensor = _grown(scene)[0]
    size = write(tensor.rms)
    return Text(
        en=f"The weights are far too large: {module(name)} is {size} on average, usual is below 1.",
        zh=f"权重大得离谱：{module(name)} 平均为 {size}，正常应小于 1。",
    )


def _in_masked(scene: KeptScene) -> Text:
    rows = _listed(sample.row for sample in _masked(scene))
    return Text(
        en=f"Every output is a number; row {rows} has no token that carries loss.",
        zh=f"所有输出都是正常数值；但第 {rows} 行没有任何参与损失的 token。",
    )


def _in_drift(scene: KeptScene) -> Text:
    low = min((loss for loss in scene.recent_losses if math.isfinite(loss)), default=math.nan)
    return Text(
        en=f"No number is broken, forward or backward: the loss itself ran away, {write(low)} → "
        f"{write(scene.loss)}.",
        zh=f"前向、反向都没有坏数：是损失自己失控了，{write(low)} → {write(scene.loss)}。",
    )


def _in_the_dark(scene: KeptScene) -> Text:
    rows = _listed(sample.row for sample in scene.samples)
    return Text(
        en=f"The batch could not be run again on one process, so layer and direction are unknown; its rows: {rows}.",
        zh=f"这一批无法在单个进程上重算，因此不知道是哪一层、前向还是反向；涉及的数据行：{rows}。",
    )


def _rows(scene: KeptScene, culprit: Culprit) -> Text | None:
    if culprit in {"masked", "unknown"}:
        return None
    samples = scene.samples
    broken = [sample for sample in samples if _is_bad(sample.loss)]
    if broken and len(broken) < len(samples):
        rows = _listed(sample.row for sample in broken)
        return Text(
            en=f"Only row {rows} breaks, the other {len(samples) - len(broken)} are sound: {_quote(broken[0])}.",
            zh=f"只有第 {rows} 行出错，其余 {len(samples) - len(broken)} 行正常：{_quote(broken[0])}。",
        )
    if broken:
        return Text(
            en=f"All {len(samples)} rows of the step break alike: no single sample is to blame.",
            zh=f"这一步的 {len(samples)} 行全都出错：不怪某一条样本。",
        )
    odd = _odd_row(samples)
    if odd is None:
        return None
    return Text(
        en=f"Row {odd.row} stands out with loss {write(odd.loss)}: {_quote(odd)}.",
        zh=f"第 {odd.row} 行格外突出，损失 {write(odd.loss)}：{_quote(odd)}。",
    )


def _odd_row(samples: tuple[Sample, ...]) -> Sample | None:
    """Return the row whose loss is far above the others of its step."""
    known = sorted((s for s in samples if s.loss is not None), key=lambda s: s.loss or 0.0)
    if len(known) < 2:
        return None
    usual = known[(len(known) - 1) // 2].loss or 0.0
    return known[-1] if (known[-1].loss or 0.0) > _ODD * max(usual, 0.1) else None


def module(name: str) -> str:
    """Return the name of a module or weight as people know it: `layers.1.mlp.up_proj`."""
    return _ENDINGS.sub("", _WRAPPERS.sub("", name)) or name


def _bad(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if tensor.non_finite]


def _grown(scene: KeptScene) -> list[tuple[str, Tensor]]:
    """Return the weight matrices that no sound training makes, the largest first."""
    matrices = (
        (n, t) for n, t in scene.weights.items() if "norm" not in n and not n.endswith("bias")
    )
    return sorted((p for p in matrices if p[1].rms > _GROWN), key=lambda p: -p[1].rms)


def _is_bad(loss: float | None) -> bool:
    return loss is not None and not math.isfinite(loss)


def _is_fp16(dtype: str) -> bool:
    return dtype.removeprefix("torch.") in {"float16", "half"}


def _short(first: Mapping[str, str]) -> str:
    return first.get("dtype", "").removeprefix("torch.") or "?"


def _listed(rows: Iterable[str]) -> str:
    every = list(rows)
    return ", ".join(every[:4]) + (" …" if len(every) > 4 else "")


def _quote(sample: Sample) -> str:
    line = " ".join(redact(sample.text).split())
    return f"“{line[:_QUOTED]}…”" if len(line) > _QUOTED else f"“{line}”"


_STOP = Text(en=".", zh="。")
_WHERE = {
    "weights": _in_weights,
    "overflow": _in_numbers,
    "grown": _in_numbers,
    "sample": _in_numbers,
    "masked": _in_masked,
    "forward": _in_numbers,
    "backward": _in_numbers,
    "diverged": _in_drift,
    "unknown": _in_the_dark,
}
_FOLLOWS: dict[str, Text] = {
    "weights": Text(
        en="So the data are not to blame: go back to a checkpoint from before, or load the model anew.",
        zh="所以不是数据的错：退回更早的检查点，或重新加载模型。",
    ),
    "overflow": Text(
        en="fp16 ends at 65504: this is overflow; bf16 or fp32 does not have it.",
        zh="fp16 的上限是 65504：这是溢出；换 bf16 或 fp32 就不会有。",
    ),
    "grown": Text(
        en="So the steps were too large: the learning rate, not the data.",
        zh="所以是步子迈得太大：问题在学习率，不在数据。",
    ),
    "sample": Text(
        en="So look at this row first: a broken, empty or overlong text, or one that is masked whole.",
        zh="所以先看这一行：文本损坏、为空、过长，或被整行掩码。",
    ),
    "masked": Text(
        en="0 tokens divided by 0 give NaN: the answer was cut off or its mask is wrong.",
        zh="0 个 token 求平均就是 0/0，得到 NaN：回答被截断，或掩码有误。",
    ),
    "forward": Text(
        en="Sound weights and no overflow of fp16: try another attention implementation, then a smaller learning rate.",
        zh="权重正常，也不是 fp16 溢出：先换一种注意力实现，再降低学习率。",
    ),
    "backward": Text(
        en="The weights are sound and the loss is finite: clip the gradient and lower the learning rate, "
        "or try another attention implementation.",
        zh="权重正常，损失也有限：裁剪梯度并降低学习率，或换一种注意力实现。",
    ),
    "diverged": Text(
        en="So the steps were too large: lower the learning rate and go back to the last good checkpoint.",
        zh="所以是步子迈得太大：降低学习率，退回最近一个完好的检查点。",
    ),
}
