"""Run a training script with real FSDP2 on CPU processes.

accelerate takes an FSDP plug-in only on accelerators, and drops it on CPUs without a word. For tests it
is put back; everything downstream then works on gloo.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import accelerate.state
from accelerate.utils import DistributedType

_original = accelerate.state.AcceleratorState.__init__


def _with_plugin(self: Any, *arguments: Any, **options: Any) -> None:
    _original(self, *arguments, **options)
    plugin = options.get("fsdp_plugin")
    if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = plugin
        shared = accelerate.state.PartialState._shared_state
        shared["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    accelerate.state.AcceleratorState.__init__ = _with_plugin
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        sys.exit("a rank has to end by leave_rank: its interpreter is not safe to tear down")
