"""Make a plan fit the devices: the fastest of the settings that fit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.advise.data_fields import packed_rows
from tutor_agent.advise.hyperparameters import batch_target
from tutor_agent.advise.kernels import can_quantise
from tutor_agent.estimate.forecast import forecast, training_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.advise.situation import Situation
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Optimizer, Plan, Sharding

MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
_LARGEST_ON_CPU = 4
FIT_ORDER = {"yes": 0, "unknown": 1, "tight": 2, "no": 3}
SMALL_STATES: tuple[Optimizer, ...] = ("adamw_8bit", "paged_adamw_8bit")


class Fitted(NamedTuple):
    """A plan whose batch and launch suit the devices, and its price."""

    plan: Plan
    forecast: Forecast


class _Setting(NamedTuple):
    optimizer: Optimizer
    sharding: Sharding
    checkpointing: bool
    micro_batch: int
    accumulate: int


def fit(plan: Plan, situation: Situation, fixed: frozenset[str]) -> Fitted:
    """Choose sharding, checkpointing, micro-batch, accumulation and, at last, optimizer; `fixed` fields stay.

    The samples per step stay what the data wants, whatever memory allows at a time. An 8-bit optimizer
    is taken only where the usual one cannot be made to fit.
    """
    tried = [_priced(plan, situation, setting) for setting in _settings(plan, situation, fixed)]
    return min(tried, key=_rank)


def target_of(plan: Plan, situation: Situation) -> int:
    """Return the samples per step that suit the amount of data in `plan`."""
    data = plan.data
    rows = training_rows(plan, situation.facts.data)
    units = packed_rows(situation, rows, packing=data.packing, max_length=data.max_length)
    return batch_target(units, plan.optim.epochs)


def _settings(plan: Plan, situation: Situation, fixed: frozenset[str]) -> Iterator[_Setting]:
    target, world = target_of(plan, situation), plan.world_size
    if "optim.micro_batch" in fixed and "optim.accumulate" in fixed:
        target = plan.effective_batch
    share = max(1, target // world)
    most = min(share, _LARGEST_ON_CPU) if situation.cpu else share
    micro = [size for size in MICRO_BATCHES if size <= most]
    shardings: list[Sharding] = ["none"]
    packed = situation.footprint.frozen_bits != "none"
    if world > 1 and not situation.cpu and not packed:
        shardings.append("fsdp2")
    if "launch.sharding" in fixed:
        shardings = [plan.launch.sharding]
    for optimizer, sharding, checkpointing, size in itertools.product(
        _optimizers(plan, situation, fixed),
        shardings,
        [plan.launch.checkpointing] if "launch.checkpointing" in fixed else [False, True],
        [plan.optim.micro_batch] if "optim.micro_batch" in fixed else micro,
    ):
        if optimizer in SMALL_STATES and sharding != "none":
            continue
        accumulate = max(1, round(target / (size * world)))
        if "optim.accumulate" in fixed:
            accumulate = plan.optim.accumulate
        yield _Setting(optimizer, sharding, checkpointing, size, accumulate)


def _optimizers(plan: Plan, situation: Situation, fixed: frozenset[str]) -> list[Optimizer]:
    """Return the plan's optimizer, and behind it those with small states where they can run and matter."""
    chosen = plan.optim.optimizer
    matters = situation.method != "lora" and can_quantise(situation.facts.machine)
    if "optim.optimizer" in fixed or chosen != "adamw" or not matters:
        return [chosen]
    return [chosen, *SMALL_STATES]


def _priced(plan: Plan, situation: Situation, setting: _Setting) -> Fitted:
    optim = {
        "optimizer": setting.optimizer,
        "micro_batch": setting.micro_batch,
        "accumulate": setting.accumulate,
    }
    launch = {"sharding": setting.sharding, "checkpointing": setting.checkpointing}
    plan = plan.model_copy(
        update={
            "optim": plan.optim.model_copy(update=optim),
            "launch": plan.launch.model_copy(update=launch),
        }
    )
    facts = situation.facts
    price = forecast(plan, facts.model, facts.machine, situation.footprint, facts.data)
    return Fitted(plan, price)


def _rank(fitted: Fitted) -> tuple[float, ...]:
    """Return the order of preference: fits, then fast; what does not fit, by how little."""
    price, order = fitted.forecast, FIT_ORDER[fitted.forecast.fits]
    if order >= FIT_ORDER["tight"]:
        return (order, price.peak_gib.high, price.hours.expected)
    other = fitted.plan.optim.optimizer in SMALL_STATES
    launch = fitted.plan.launch
    extras = (launch.sharding != "none") + launch.checkpointing
    # What saves no more than two per cent of the time is not worth another moving part.
    hours = price.hours.expected * (1 + 0.02 * extras)
    return (order, other, round(hours, 3), extras, price.peak_gib.high)
