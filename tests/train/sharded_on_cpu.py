"""Run a training script with real FSDP2 on CPU processes.

accelerate takes an FSDP plug-in only on accelerators, and drops it on CPUs without a word. For tests it
is put back; everything downstream then works on gloo. What each process really holds is written to
`shards-RANK.json` in the run folder: equal losses could not tell.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import accelerate.state
import transformers.trainer
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

_original = accelerate.state.AcceleratorState.__init__


def with_plugin(self: Any, *arguments: Any, **options: Any) -> None:
    _original(self, *arguments, **options)
    plugin = options.get("fsdp_plugin")
    if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = plugin
        shared = accelerate.state.PartialState._shared_state
        shared["distributed_type"] = DistributedType.FSDP


class _CountShards(transformers.TrainerCallback):
    """Tells what this process holds once training has begun."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parameters = list(kwargs["model"].parameters())
        shards = [parameter for parameter in parameters if isinstance(parameter, DTensor)]
        found = {
            "class": type(kwargs["model"]).__name__,
            "parameters": len(parameters),
            "shards": len(shards),
            "elements": sum(parameter.numel() for parameter in parameters),
            "held": sum(shard.to_local().numel() for shard in shards),
        }
        path = Path(os.environ["TUTOR_RUN"]) / f"shards-{args.process_index}.json"
        path.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    accelerate.state.AcceleratorState.__init__ = with_plugin
    transformers.trainer.DEFAULT_CALLBACKS.append(_CountShards)
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        sys.exit("a rank has to end by leave_rank: its interpreter is not safe to tear down")
