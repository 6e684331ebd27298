"""What to do when nothing fits: said with figures, not with hope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise.kernels import QUANTISER
from tutor_agent.advise.situation import billions_text
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.estimate.footprint import Footprint, lora_footprint
from tutor_agent.estimate.forecast import forecast
from tutor_agent.estimate.linear import attention
from tutor_agent.estimate.memory import GIB
from tutor_agent.library.models import all_models

if TYPE_CHECKING:
    from tutor_agent.advise.draft import Draft
    from tutor_agent.core.facts import Facts, Machine, ModelFacts
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Plan

_MORE = (2, 4, 8, 16, 32, 64)
_SUGGESTED = 3
_RANK = 16
_HOST_BYTES = 12
"""Gradient and two moments in fp32 of a trained weight."""


def nothing_fits(drafts: list[Draft], named: Draft | None) -> NotPossibleError:
    """Return the error for a machine on which nothing fits, or not the method that was named."""
    runnable = [draft for draft in drafts if draft.refused is None]
    if not runnable:
        reasons = [draft.refused for draft in drafts if draft.refused is not None]
        (smaller,) = _smaller_models(drafts[0])
        return NotPossibleError(
            " ".join(dict.fromkeys(reason.en for reason in reasons)) + f" Or use {smaller.en}.",
            "".join(dict.fromkeys(reason.zh for reason in reasons)) + f"也可以{smaller.zh}。",
        )
    least = named or min(runnable, key=lambda draft: draft.forecast.peak_gib.expected)
    facts, price = least.situation.facts, least.forecast
    kind = ("a GPU", "每张 GPU") if facts.machine.accelerators else ("the machine", "本机")
    head = Text(
        en=f"{facts.model.name} ({billions_text(facts.model.parameters.total)}) does not fit: {least.plan.skill} needs "
        f"about {price.peak_gib.expected:.1f} GiB (plan for {price.peak_gib.high:.1f}), {kind[0]} has "
        f"{price.capacity_gib or 0:.1f} GiB.",
        zh=f"{facts.model.name}（{billions_text(facts.model.parameters.total)}）放不下：{least.plan.skill} 约需 "
        f"{price.peak_gib.expected:.1f} GiB（请按 {price.peak_gib.high:.1f} GiB 准备），{kind[1]}只有 "
        f"{price.capacity_gib or 0:.1f} GiB。",
    )
    ways = [
        *_other_methods(runnable, named),
        *_smaller_models(least),
        *_more_devices(least),
        *_quantised(least),
        *_offloaded(least),
    ]
    return NotPossibleError(
        f"{head.en} Ways out: " + "; ".join(way.en for way in ways) + ".",
        f"{head.zh}可行的办法：" + "；".join(way.zh for way in ways) + "。",
    )


def _other_methods(drafts: list[Draft], named: Draft | None) -> list[Text]:
    fitting = [d for d in drafts if d is not named and d.forecast.fits in {"yes", "tight"}]
    return [
        Text(
            en=f"the skill {draft.plan.skill} fits with about {draft.forecast.peak_gib.expected:.0f} GiB",
            zh=f"改用技能 {draft.plan.skill}，约需 {draft.forecast.peak_gib.expected:.0f} GiB，放得下",
        )
        for draft in fitting
    ]


def _smaller_models(draft: Draft) -> list[Text]:
    """Name the largest recommended models of the catalogue that LoRA would fit."""
    facts, fitting = draft.situation.facts, list[tuple[int, str]]()
    for entry in all_models():
        small = entry.facts.parameters.total < facts.model.parameters.total
        if small and entry.recommend is not None and fits_lora(draft.plan, entry.facts, facts):
            fitting.append((entry.facts.parameters.total, entry.id))
    family = facts.model.name.split("/")[-1].split("-")[0].lower()
    fitting.sort(key=lambda item: (family not in item[1].lower(), -item[0]))
    names = [name for _, name in fitting[:_SUGGESTED]]
    if not names:
        return [Text(en="a smaller or distilled model", zh="换用更小的模型或蒸馏模型")]
    return [
        Text(
            en=f"a smaller or distilled model, such as {', '.join(names)}",
            zh=f"换用更小的模型或蒸馏模型，例如 {'、'.join(names)}",
        )
    ]


def fits_lora(plan: Plan, model: ModelFacts, facts: Facts) -> bool:
    """Return whether LoRA on `model` fits the machine at the least memory that `plan` can be given."""
    if model.quantization is not None:
        return False
    price = forecast(
        _leanest(plan, plan.world_size), model, facts.machine, _adapters(model), facts.data
    )
    return price.fits == "yes"


def _more_devices(draft: Draft) -> list[Text]:
    """Say how many of the same card would do, by sharding over them."""
    facts = draft.situation.facts
    cards = facts.machine.accelerators
    if not cards:
        return [
            Text(
                en="a machine with a GPU, or more memory",
                zh="换用有 GPU 或内存更大的机器",
            )
        ]
    for count in (n for n in _MORE if n > len(cards)):
        machine = facts.machine.model_copy(update={"accelerators": cards[:1] * count})
        price = _sharded(draft, machine, count)
        if price.fits == "yes":
            return [
                Text(
                    en=f"{count} of {cards[0].name}, over which {draft.plan.skill} is sharded",
                    zh=f"用 {count} 张 {cards[0].name} 分片运行 {draft.plan.skill}",
                )
            ]
    return [Text(en="GPUs with more memory", zh="换用显存更大的 GPU")]


def _sharded(draft: Draft, machine: Machine, count: int) -> Forecast:
    facts, plan = draft.situation.facts, _leanest(draft.plan, count)
    return forecast(plan, facts.model, machine, draft.situation.footprint, facts.data)


def _quantised(draft: Draft) -> list[Text]:
    """Say what QLoRA would need on one GPU, and what is missing for it."""
    facts = draft.situation.facts
    cards = facts.machine.accelerators
    if not cards or any(card.vendor != "nvidia" for card in cards):
        return []
    quantised = _adapters(facts.model).model_copy(update={"frozen_bits": "nf4-double"})
    plan = _leanest(draft.plan, 1)
    price = forecast(plan, facts.model, facts.machine, quantised, facts.data)
    size, missing = f"{price.peak_gib.expected:.0f} GiB", QUANTISER not in facts.machine.packages
    if price.fits not in {"yes", "tight"}:
        return [
            Text(
                en=f"QLoRA would still need about {size} on one GPU",
                zh=f"即使用 QLoRA，单卡仍约需 {size}",
            )
        ]
    install = (
        (f", once {QUANTISER} is installed", f"（需先安装 {QUANTISER}）") if missing else ("", "")
    )
    return [
        Text(
            en=f"QLoRA (the skill lora with params.quantization nf4) fits with about {size} on one GPU{install[0]}",
            zh=f"QLoRA（技能 lora，params.quantization 设为 nf4）单卡约需 {size}，放得下{install[1]}",
        )
    ]


def _offloaded(draft: Draft) -> list[Text]:
    """Say whether it fits with all states in main memory, when there are GPUs to shard over."""
    facts, plan = draft.situation.facts, draft.plan
    count = len(facts.machine.accelerators)
    if count < 2:
        return []
    lean = _leanest(plan, count)
    lean = lean.model_copy(update={"launch": lean.launch.model_copy(update={"offload": "cpu"})})
    price = forecast(lean, facts.model, facts.machine, draft.situation.footprint, facts.data)
    hosted = _HOST_BYTES * draft.situation.footprint.trainable + 4 * facts.model.parameters.total
    if price.fits != "yes" or 0 < facts.machine.ram_gib < hosted / GIB:
        return []
    return [
        Text(
            en=f"launch.sharding fsdp2 with launch.offload cpu fits with about {price.peak_gib.expected:.0f} GiB a GPU and "
            f"{hosted / GIB:.0f} GiB of main memory, several times slower",
            zh=f"launch.sharding 设为 fsdp2、launch.offload 设为 cpu，每卡约 {price.peak_gib.expected:.0f} GiB、主内存约 "
            f"{hosted / GIB:.0f} GiB，放得下，但会慢数倍",
        )
    ]


def _adapters(model: ModelFacts) -> Footprint:
    names = [layer.name for layer in attention(model.shape)]
    return lora_footprint(model, _RANK, names if model.shape.experts else "all-linear")


def _leanest(plan: Plan, processes: int) -> Plan:
    """Return `plan` with every setting that saves memory and changes no result."""
    launch = plan.launch.model_copy(
        update={
            "processes": processes,
            "checkpointing": True,
            "sharding": "fsdp2" if processes > 1 else "none",
        }
    )
    optim = plan.optim.model_copy(update={"micro_batch": 1})
    return plan.model_copy(update={"launch": launch, "optim": optim})
