"""Which weights of a model LoRA is to adapt, found by looking at the model.

Short names such as `gate_proj` mean different things in different classes. In models whose experts are fused
tensors (DeepSeek V2 and later) PEFT rewrites MLP names to the routed experts and adapts the router along with
them; there MLP weights are named as parameters, which PEFT leaves as written.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tutor_agent.core.errors import InvalidPlanError, NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.training.quantised import PACKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transformers import PreTrainedModel

_EXPERT_TENSORS = {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj"}
_PLAIN = {"Linear", *PACKED}
_IN_BLOCK = re.compile(r"(?:.*\.)?layers\.\d+\..+")
_ROUTERS = (".gate", ".router", ".shared_expert_gate")
_HALVES = ("experts.gate_proj", "experts.up_proj")
_WHOLE = Text(
    en="experts.gate_proj and experts.up_proj are one tensor here, so both are adapted.",
    zh="experts.gate_proj 与 experts.up_proj 在此是同一个张量，因此两者都会被适配。",
)
_OWN_KIND = {"shared_experts", "shared_expert", "compressor"}
"""Parts whose layers share short names with others, and are meant only when named."""


class Targets(NamedTuple):
    """The weights that get an adapter, by full name."""

    modules: frozenset[str]
    """Linear layers."""
    parameters: frozenset[str]
    """Tensors that are adapted by themselves: fused experts, and what stands beside them."""
    notes: tuple[Text, ...] = ()
    """What a name means here, where that is easily misread."""


class _Layers(NamedTuple):
    """The weights of a model that can be adapted, by kind."""

    attention: set[str]
    compressor: set[str]
    mlp: set[str]
    grouped: set[str]
    fused: set[str]
    unreached: set[str]
    routers: set[str]

    @property
    def modules(self) -> set[str]:
        return self.attention | self.compressor | self.mlp | self.grouped


def choose_targets(model: PreTrainedModel, asked: str | list[str]) -> Targets:
    """Return the weights that `asked` means in this model, the router never among them.

    Raises:
        NotPossibleError: A name fits nothing in this model, or something that cannot be adapted.
        InvalidPlanError: Nothing is asked for.
    """
    layers = _look(model)
    if not asked:
        raise InvalidPlanError(
            "params.targets is empty, so nothing would be trained. Allowed: 'all-linear', 'attention', or module names.",
            "params.targets 为空，没有可训练的内容。可用：'all-linear'、'attention' 或模块名。",
        )
    notes: list[Text] = []
    if asked == "attention":
        chosen = set(layers.attention)
    elif asked == "all-linear":
        chosen = layers.modules | layers.fused
    else:
        chosen = set()
        names = [asked] if isinstance(asked, str) else asked
        for name in names:
            chosen |= _named(name, layers, notes)
        if len([n for n in names if n.removeprefix("mlp.") in _HALVES]) == 1:
            notes.append(_WHOLE)
    by_tensor = layers.grouped | (layers.mlp if layers.fused else set())
    parameters = {f"{name}.weight" for name in chosen & by_tensor} | chosen & layers.fused
    _refuse_packed(model, parameters)
    return Targets(
        frozenset(chosen - by_tensor - layers.fused), frozenset(parameters), tuple(notes)
    )


def expected_sizes(
    model: PreTrainedModel, targets: Targets, rank: int, *, dora: bool
) -> dict[str, int]:
    """Return how many weights the adapter of each module will have, from names and shapes alone."""
    sizes: dict[str, int] = {}
    for name in targets.modules:
        module: Any = model.get_submodule(name)
        sizes[name] = rank * (module.in_features + module.out_features)
        sizes[name] += module.out_features if dora else 0
    for name in targets.parameters:
        parameter: Any = model.get_parameter(name)
        *copies, rows, columns = getattr(parameter, "ds_shape", parameter.shape)
        owner = name.rpartition(".")[0]
        sizes[owner] = sizes.get(owner, 0) + rank * (copies or [1])[0] * (rows + columns)
    return sizes


def endings(wanted: Iterable[str], every: Iterable[str]) -> list[str]:
    """Return the shortest endings of dotted names that fit all of `wanted` and none else of `every`."""
    wanted, every = set(wanted), list(every)
    found: set[str] = set()
    for name in wanted:
        pieces = name.split(".")
        tails = (".".join(pieces[i:]) for i in range(len(pieces) - 1, -1, -1))
        found.add(next(t for t in tails if all(n in wanted for n in every if _ends(n, t))))
    return sorted(found)


def _look(model: PreTrainedModel) -> _Layers:
    layers = _Layers(set(), set(), set(), set(), set(), set(), set())
    for name, module in model.named_modules():
        if not _IN_BLOCK.fullmatch(name):
            continue
        if name.endswith(_ROUTERS):
            layers.routers.add(name)
        elif isinstance(module, torch.nn.Linear):
            _kind(layers, name, type(module).__name__).add(name)
    layers.fused.update(n for n, p in model.named_parameters() if p.dim() == 3 and ".experts." in n)
    return layers


def _kind(layers: _Layers, name: str, kind: str) -> set[str]:
    path = name.split(".")[:-1]
    if "indexer" in path:
        # It picks what is attended to by a hard choice, which passes no gradient back.
        return layers.unreached
    if kind not in _PLAIN:
        return layers.grouped
    if "compressor" in path:
        return layers.compressor
    attends = any("attn" in piece or "attention" in piece for piece in path)
    return layers.attention if attends else layers.mlp


def _named(name: str, layers: _Layers, notes: list[Text]) -> set[str]:
    kind, _, leaf = name.rpartition(".")
    tensor = _EXPERT_TENSORS.get(leaf, leaf)
    fused = {
        full
        for full in layers.fused
        if _ends(full, tensor) and (not kind or _ends(full.rpartition(".")[0], kind))
    }
    if fused and (kind or leaf not in _EXPERT_TENSORS):
        return fused
    found = {full for full in layers.modules if _ends(full, name)}
    apart = set() if kind else {full for full in found if full.split(".")[-2] in _OWN_KIND}
    if found - apart:
        if apart or fused:
            notes.append(_narrow(name, layers))
        return found - apart
    raise _no_target(name, layers)


def _narrow(name: str, layers: _Layers) -> Text:
    others = [n for n in _known(layers) if n.endswith(f".{name}")]
    return Text(
        en=f"params.targets {name!r} does not reach the layers of that name in other parts; add {', '.join(others)} for those.",
        zh=f"params.targets 中的 {name!r} 不包括其他部件里的同名层；如需要，请加上 {'、'.join(others)}。",
    )


def _no_target(name: str, layers: _Layers) -> NotPossibleError:
    elsewhere = any(_ends(full, name) for full in layers.modules)
    if not elsewhere and any(_ends(full, name) for full in layers.unreached):
        return NotPossibleError(
            f"LoRA target {name!r} is part of the indexer, which the loss does not reach: it would never learn. Leave it out.",
            f"LoRA 目标 {name!r} 属于索引器，损失传不到那里，它学不到任何东西。请去掉它。",
        )
    if any(_ends(full, name) for full in layers.routers):
        return NotPossibleError(
            f"LoRA target {name!r} is the router of the experts; adapting it unbalances them. Leave it out.",
            f"LoRA 目标 {name!r} 是专家路由器，改动它会使专家失衡。请去掉它。",
        )
    known = _known(layers)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near += [n for n in known if n.endswith(f".{name}") and n not in near]
    said = Text(
        en=f"; did you mean {' or '.join(map(repr, near))}?" if near else ".",
        zh=f"；是否想写 {' 或 '.join(map(repr, near))}？" if near else "。",
    )
    return NotPossibleError(
        f"LoRA target {name!r} fits no linear layer of this model{said.en} It has: {', '.join(known)}.",
        f"LoRA 目标 {name!r} 不是该模型的线性层{said.zh}该模型有：{'、'.join(known)}。",
    )


def _known(layers: _Layers) -> list[str]:
    """Return what may be written in `params.targets`."""
    names = set(_written(layers.modules))
    if layers.fused:
        present = {name.rsplit(".", 1)[1] for name in layers.fused}
        names |= {
            f"experts.{leaf}" for leaf, tensor in _EXPERT_TENSORS.items() if tensor in present
        }
    return sorted(names)


def _written(names: set[str]) -> Iterator[str]:
    for name in names:
        *_, parent, leaf = name.split(".")
        yield f"{parent}.{leaf}" if parent in _OWN_KIND else leaf


def _refuse_packed(model: PreTrainedModel, parameters: set[str]) -> None:
    for name in sorted(parameters):
        if type(model.get_submodule(name.rpartition(".")[0])).__name__ in PACKED:
            raise NotPossibleError(
                f"params.quantization packs {name}, and in a mixture of experts PEFT adapts it only unpacked. Set "
                "params.targets to 'attention', or params.quantization to 'none'.",
                f"params.quantization 会打包 {name}，而在混合专家模型中 PEFT 只能适配未打包的权重。"
                "请把 params.targets 设为 'attention'，或把 params.quantization 设为 'none'。",
            )


def _ends(full: str, name: str) -> bool:
    return full == name or full.endswith(f".{name}")
