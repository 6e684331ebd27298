"""Keep the scene of a halted step: enough to see what happened without running it again."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tutor_agent.core.redact import redact
from tutor_agent.core.storage import write_atomic
from tutor_agent.data.labels import IGNORED
from tutor_agent.training.losses import token_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.data.collate import Batch
    from tutor_agent.training.losses import TokenLosses

_TEXT_LIMIT = 4000
_RECENT = 50


class Moment(NamedTuple):
    """What is known about the step that was stopped."""

    reason: str
    step: int
    rank: int
    learning_rate: float
    loss: float
    grad_norm: float
    recent_losses: Sequence[float]


class Seen(NamedTuple):
    """What running the batch again showed."""

    losses: list[list[float]]
    first_non_finite: dict[str, str] | None
    gradients: dict[str, dict[str, Any]]


def keep_scene(
    folder: Path,
    moment: Moment,
    model: torch.nn.Module,
    batches: Sequence[Batch],
    tokenizer: PreTrainedTokenizerBase,
    *,
    rerun: bool,
) -> bool:
    """Write what this rank saw into `folder`; return whether the trouble began on this rank.

    Args:
        folder: `scene` in the run folder.
        moment: The step and its numbers.
        model: The model inside the distributed wrapper, with the weights from before the step.
        batches: The micro-batches of the step on this rank.
        tokenizer: Decodes the samples.
        rerun: Whether the batches can be run again on this rank alone (not when weights are sharded).
    """
    weights = magnitudes(model)
    seen = _run_again(model, batches) if rerun else Seen([], None, {})
    begins_here = _begins_here(seen, moment, rerun=rerun)
    rows = _samples(batches, seen.losses, tokenizer)
    scene = {
        **moment._asdict(),
        "recent_losses": list(moment.recent_losses)[-_RECENT:],
        "rows": [row["row"] for row in rows],
        "row_losses": [row["loss"] for row in rows],
        "first_non_finite": seen.first_non_finite,
        "weights_non_finite": [name for name, facts in weights.items() if facts["non_finite"]],
        "gradients_non_finite": [n for n, facts in seen.gradients.items() if facts["non_finite"]],
        "files": {"samples": "samples.jsonl", "layers": "layers.json", "random": "random.pt"},
    }
    place = folder / f"rank-{moment.rank}"
    write_atomic(place / "scene.json", _json(scene))
    write_atomic(place / "samples.jsonl", "".join(f"{_json(row)}\n" for row in rows))
    write_atomic(place / "layers.json", _json({"weights": weights, "gradients": seen.gradients}))
    torch.save(
        {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
        place / "random.pt",
    )
    return begins_here


def magnitudes(
    model: torch.nn.Module, pick: Callable[[torch.nn.Parameter], torch.Tensor | None] = lambda p: p
) -> dict[str, dict[str, Any]]:
    """Return dtype, largest value and root mean square of each tensor that `pick` finds."""
    found: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        tensor = pick(parameter)
        if tensor is None:
            continue
        local: torch.Tensor = getattr(tensor, "_local_tensor", tensor).detach()
        wide = local.float()
        finite = torch.isfinite(wide)
        clean = torch.where(finite, wide, torch.zeros_like(wide))
        found[name] = {
            "dtype": str(local.dtype).removeprefix("torch."),
            "largest": float(clean.abs().max()) if clean.numel() else 0.0,
            "rms": float(clean.square().mean().sqrt()) if clean.numel() else 0.0,
            "non_finite": int((~finite).sum()),
        }
    return found


def _run_again(model: torch.nn.Module, batches: Sequence[Batch]) -> Seen:
    """Run the batches once more, watching every module; the gradients are those of this rank alone."""
    first: list[dict[str, str]] = []
    names = {module: name for name, module in model.named_modules()}

    def watch(module: torch.nn.Module, _: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if first or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            return
        if not bool(torch.isfinite(tensor).all()):
            first.append(
                {"module": names[module], "kind": type(module).__name__, "dtype": str(tensor.dtype)}
            )

    hooks = [module.register_forward_hook(watch) for module in model.modules()]
    losses: list[list[float]] = []
    model.zero_grad(set_to_none=True)
    try:
        for batch in batches:
            found = token_losses(model, batch, _body(model))
            losses.append(_sample_losses(found, batch))
            found.total.backward()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = magnitudes(model, lambda parameter: parameter.grad)
    model.zero_grad(set_to_none=True)
    return Seen(losses, first[0] if first else None, gradients)


def _begins_here(seen: Seen, moment: Moment, *, rerun: bool) -> bool:
    if not rerun:
        return not (math.isfinite(moment.loss) and math.isfinite(moment.grad_norm))
    bad_gradient = any(facts["non_finite"] for facts in seen.gradients.values())
    return seen.first_non_finite is not None or bad_gradient


def _samples(
    batches: Sequence[Batch], losses: Sequence[Sequence[float]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, batch in enumerate(batches):
        for j, (numbers, ids) in enumerate(_pieces(batch)):
            lines = [number for number in numbers if number >= 0]
            if not lines:
                continue
            rows.append(
                {
                    "row": lines[0] if len(lines) == 1 else lines,
                    "loss": losses[i][j] if losses else None,
                    "tokens": len(ids),
                    "text": redact(str(tokenizer.decode(ids)))[:_TEXT_LIMIT],
                }
            )
    return rows


def _pieces(batch: Batch) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield row numbers and token ids of everything in a batch that has a loss of its own."""
    if "lengths" in batch:
        parts = batch["input_ids"][0].split(batch["lengths"].tolist())
        yield from (([int(n)], ids) for n, ids in zip(batch["rows"][0], parts, strict=True))
        return
    for j, numbers in enumerate(batch["rows"].tolist()):
        ids = batch["input_ids"][j]
        yield numbers, ids[batch["attention_mask"][j].bool()] if "attention_mask" in batch else ids


def _sample_losses(found: TokenLosses, batch: Batch) -> list[float]:
    """Return the mean loss of each piece of `_pieces`; NaN where none of its tokens carries loss."""
    if "lengths" not in batch:
        return [float(loss) for loss in found.by_row.detach()]
    parts = batch["labels"][0].split(batch["lengths"].tolist())
    counts = [int((part != IGNORED).sum()) for part in parts]
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(
            found.logits_bkv[0].float(), found.targets_bk[0], reduction="none", ignore_index=IGNORED
        )
    means = (losses.mean() for losses in each[: sum(counts)].split(counts))
    return [float(mean) for mean in means]


def _body(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside a PEFT wrapper."""
    inner = getattr(model, "get_base_model", None)
    return inner() if inner is not None else model


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Write non-finite numbers as words, as the events do."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
