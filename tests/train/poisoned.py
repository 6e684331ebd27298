"""Run a training script that meets a NaN: in a weight, or in a gradient whose loss is finite; FSDP2 works too.

`TUTOR_TEST_POISON` says where: `weight` or `gradient`.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

import accelerate.state
import torch
from transformers import TrainerCallback

from tests.train import sharded_on_cpu
from tutor_agent.training import session

STEP = 4
"""Steps that are taken before."""


class Poison(TrainerCallback):
    """Spoils a weight of the last block, or its gradient, once `STEP` steps are done."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step != STEP:
            return
        named = kwargs["model"].named_parameters()
        weight = next(weight for name, weight in named if "layers.1.mlp.up_proj" in name)
        if os.environ["TUTOR_TEST_POISON"] == "weight":
            # ZeRO-3 computes with the whole of a small weight, and keeps a part of it beside.
            for part in (weight, getattr(weight, "ds_tensor", weight)):
                own = part.to_local() if hasattr(part, "to_local") else part.data
                if own.numel():
                    own.detach().view(-1)[3] = float("nan")
        else:
            weight.register_hook(lambda gradient: torch.full_like(gradient, float("nan")))


def _with_poison(*arguments: Any) -> Any:
    trainer = _make(*arguments)
    trainer.add_callback(Poison())
    return trainer


_make = session.make_trainer

if __name__ == "__main__":
    session.make_trainer = _with_poison
    accelerate.state.AcceleratorState.__init__ = sharded_on_cpu.with_plugin
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        sys.exit("a rank has to end by leave_rank: its interpreter is not safe to tear down")
