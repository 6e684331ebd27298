"""Layer freezing, light side: the bottom stays, the top learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tutor_agent.core.advice import Why
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.findings import Finding
from tutor_agent.core.job import Job
from tutor_agent.core.text import Text
from tutor_agent.estimate.footprint import Footprint, freezing_footprint

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.facts import Facts, ModelFacts
    from tutor_agent.core.plan import Plan


class Params(Contract):
    """Which blocks learn."""

    train_last: int = Field(default=2, ge=0)
    """How many of the last blocks are trained; the ones below stay as they are."""
    train_embeddings: bool = False
    """Whether the input embedding is trained too."""
    train_head: bool = False
    """Whether the output head is trained too."""
    train_modules: list[str] = []
    """Parts trained besides, by name from any piece on: `o_proj`, `layers.3`, `layers.*.mlp`."""


def check(facts: Facts, params: Params) -> list[Finding]:
    """Return what is unwise.

    Raises:
        NotPossibleError: Nothing is to be trained, more layers than there are, or quantised weights.
    """
    model, layers = facts.model, facts.model.shape.layers
    if not (
        params.train_last or params.train_modules or params.train_embeddings or params.train_head
    ):
        raise NotPossibleError(
            "params.train_last = 0 leaves nothing to train. Choose 1 or more, or name parts in params.train_modules.",
            "params.train_last = 0 时没有可训练的部分。请设为 1 以上，或在 params.train_modules 中写出部件名。",
        )
    if params.train_last > layers:
        raise NotPossibleError(
            f"params.train_last = {params.train_last}, but {model.name} has {layers} layers. Choose 0 to {layers}; "
            f"for all of them use the skill 'full-fine-tuning'.",
            f"params.train_last = {params.train_last}，但 {model.name} 只有 {layers} 层。请选择 0 到 {layers}；"
            "要训练全部层，请用技能 'full-fine-tuning'。",
        )
    if model.quantization is not None:
        raise NotPossibleError(
            f"{model.name} is stored in {model.quantization}: quantised weights cannot be trained. Convert it to "
            "bf16 first, or take its bf16 release.",
            f"{model.name} 以 {model.quantization} 存储：量化后的权重不能训练。请先转换成 bf16，或改用其 bf16 版本。",
        )
    deep = params.train_embeddings or (params.train_head and model.shape.tied)
    return [_reaches_down(model, params)] if deep else []


def footprint(model: ModelFacts, params: Params) -> Footprint:
    """Return which weights move and how far down the backward pass goes."""
    return freezing_footprint(
        model,
        params.train_last,
        train_embeddings=params.train_embeddings,
        train_head=params.train_head,
        train_modules=params.train_modules,
    )


def build(plan: Plan, folder: Path) -> Job:
    """Return the job that trains."""
    return Job(
        script=str(folder / "scripts" / "train.py"),
        arguments=("--run", "{run}", "--model", "{model}"),
        processes=plan.launch.processes,
        nodes=plan.launch.nodes,
        outputs=("result/config.json",),
    )


def suggest(facts: Facts) -> tuple[Params, dict[str, Why]]:
    """Return parameters that suit the model and the data, with a reason for each."""
    layers = facts.model.shape.layers
    last = max(1, round(layers / (3 if facts.data.rows >= 1000 else 6)))
    return Params(train_last=last), {
        "params.train_modules": Why(
            reason=Text(
                en="None besides the last blocks: whole blocks on top learn a task better than scattered parts.",
                zh="除最后几层外不再另选：顶部的整层比零散的部件更容易学会任务。",
            ),
            card="layer-freezing",
            source="Measured on SmolLM2-135M: the last 10 of 30 blocks learn about as well as all",
            alternative=Text(
                en="Name parts such as o_proj or layers.*.mlp to train only those; then train_last may be 0.",
                zh="可以写出部件名（如 o_proj 或 layers.*.mlp）只训练它们；此时 train_last 可为 0。",
            ),
        ),
        "params.train_last": Why(
            reason=Text(
                en=f"The last {last} of {layers} blocks learn: with {facts.data.rows} rows that is enough room, and "
                "the backward pass stops below them, which saves memory and time.",
                zh=f"只训练 {layers} 层中的最后 {last} 层：对 {facts.data.rows} 行数据已经够用，反向传播到此为止，"
                "省显存也省时间。",
            ),
            card="layer-freezing",
            source="LLaMA-Factory freeze: last 2 layers; measured on SmolLM2-135M: last 10 of 30 learn about as well as all",
            alternative=Text(
                en="More layers when training loss stalls; fewer when validation loss rises early.",
                zh="训练损失停滞时多放开几层；验证损失很早上升时少放开几层。",
            ),
        ),
        "params.train_embeddings": Why(
            reason=Text(
                en="Frozen: training them sends the backward pass through every layer, and the saving is gone.",
                zh="冻结：训练词嵌入会让反向传播穿过所有层，节省就没有了。",
            ),
            card="layer-freezing",
            source="Measured on SmolLM2-135M: 2.9 GB against 5.3 GB",
            alternative=Text(
                en="On when new tokens were added to the vocabulary.",
                zh="词表新增了词元时可以打开。",
            ),
        ),
        "params.train_head": Why(
            reason=Text(
                en="Frozen: the last blocks can learn what the task needs, and the head is a large matrix"
                + (" shared with the embedding here." if facts.model.shape.tied else "."),
                zh="冻结：最后几层已足以学会任务，而输出头是很大的矩阵"
                + ("，在此模型中还与词嵌入共用。" if facts.model.shape.tied else "。"),
            ),
            card="layer-freezing",
            source="Measured on SmolLM2-135M; LLaMA-Factory freeze trains blocks only",
            alternative=Text(
                en="On when the answers use words that the model hardly ever wrote before.",
                zh="答案用到模型以前很少写出的词时可以打开。",
            ),
        ),
    }


def _reaches_down(model: ModelFacts, params: Params) -> Finding:
    which = "params.train_embeddings" if params.train_embeddings else "params.train_head"
    return Finding(
        cause="oom_model_states",
        title=Text(en="Freezing saves little memory this way.", zh="这样冻结省不了多少显存。"),
        severity="warn",
        confidence=0.9,
        evidence=(
            Text(
                en=f"{which} is true, so the backward pass goes through all {model.shape.layers} layers down to "
                "the embedding"
                + (" (head and embedding are one matrix here)." if model.shape.tied else "."),
                zh=f"{which} 为 true，反向传播要穿过全部 {model.shape.layers} 层直到词嵌入"
                + ("（此模型的输出头与词嵌入是同一矩阵）。" if model.shape.tied else "。"),
            ),
        ),
    )
