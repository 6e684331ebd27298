"""Matrix products on a CPU by oneDNN, where that is faster than what PyTorch takes.

PyTorch multiplies fp32 matrices with MKL, which on processors that are not Intel's leaves half of their vector
width unused; oneDNN, which PyTorch brings along too, uses all of it. Both round in fp32; the choice depends
on the processor alone, so that a resumed run computes what the first one did.
Measured on an EPYC with AVX-512: 210 to 250 against 100 GFLOP/s a core, in all three products of a layer.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.lora import Linear as LoraLinear

if TYPE_CHECKING:
    from tutor_agent.core.plan import Plan

_FEW_ROWS = 16
"""With fewer rows (an answer written token by token) the memory is what limits, and MKL starts sooner."""


class OneDnnLinear(torch.nn.Linear):
    """A linear layer whose three products go through oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Return `input @ weight.T + bias`."""
        if not _fits(input, self.weight):
            return super().forward(input)
        found: Any = _Linear.apply(input, self.weight, self.bias)
        return found


class OneDnnAdapter(LoraLinear):
    """A frozen linear layer and its plain low-rank adapter as one operation: no pass over the output to add them."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return `x @ weight.T + scaling * x @ A.T @ B.T`, or what PEFT returns in every other case."""
        layer: Any = self.base_layer
        name = self._plain_adapter() if not args and not kwargs and _fits(x, layer.weight) else None
        if name is None:
            return super().forward(x, *args, **kwargs)
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        if down.dtype != x.dtype or up.dtype != x.dtype:
            return super().forward(x)
        found: Any = _LowRank.apply(x, layer.weight, layer.bias, down, up, self.scaling[name])
        return found

    def _plain_adapter(self) -> str | None:
        """Return the one adapter in use, None unless it is a plain pair of matrices beside the layer."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        (name,) = self.active_adapters
        if (
            name not in self.lora_A
            or name in self.lora_variant
            or self.lora_B[name].bias is not None
        ):
            return None
        return name if isinstance(self.lora_dropout[name], torch.nn.Identity) else None


def hasten(model: torch.nn.Module, plan: Plan) -> int:
    """Let the plain linear layers of `model` multiply through oneDNN where that pays; return how many now do.

    Weights, names and what is saved stay as they are. Layers of other classes (quantised, with their own
    products) and layers whose adapter is more than a pair of matrices stay untouched.
    """
    changed = 0
    kept = plan.model.compile or plan.launch.sharding != "none"
    if kept or torch.cuda.is_available() or not onednn_is_faster():
        return changed
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = OneDnnLinear
        elif type(module) is LoraLinear and isinstance(module.base_layer, torch.nn.Linear):
            module.__class__ = OneDnnAdapter
        else:
            continue
        changed += 1
    return changed


@lru_cache
def onednn_is_faster() -> bool:
    """Return whether this processor has AVX-512 and a maker whom MKL does not give it to."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    described = Path("/proc/cpuinfo")
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not described.is_file():
        return False
    return "AuthenticAMD" in described.read_text(encoding="utf-8")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight_oi: torch.Tensor, bias_o: torch.Tensor | None
    ) -> torch.Tensor:
        learns_input, learns_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if learns_weight else None, weight_oi if learns_input else None)
        return _product(x, weight_oi, bias_o)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight_oi = ctx.saved_tensors
        g_no = gradient.reshape(-1, gradient.shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _product(g_no, weight_oi.t()).view(*gradient.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            to_weight = _product(g_no.t(), x.reshape(-1, x.shape[-1]).t())
        if ctx.needs_input_grad[2]:
            to_bias = g_no.sum(dim=0)
        return to_x, to_weight, to_bias


class _LowRank(torch.autograd.Function):
    """A frozen layer (weight, bias) with an adapter: down to R, up to O again, scaled."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_oi: torch.Tensor,
        bias_o: torch.Tensor | None,
        down_ri: torch.Tensor,
        *adapter: Any,
    ) -> torch.Tensor:
        up_or, scaling = adapter
        found = _product(x, weight_oi, bias_o)
        h_nr = _product(x.reshape(-1, x.shape[-1]), down_ri).mul_(scaling)
        found.view(-1, found.shape[-1]).addmm_(h_nr, up_or.t())
        ctx.save_for_backward(x, weight_oi, down_ri, up_or, h_nr)
        ctx.scaling = scaling
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight_oi, down_ri, up_or, h_nr = ctx.saved_tensors
        g_no = gradient.reshape(-1, gradient.shape[-1])
        to_h_nr = _product(g_no, up_or.t()).mul_(ctx.scaling)
        to_down = _product(to_h_nr.t(), x.reshape(-1, x.shape[-1]).t())
        to_up = _product(g_no.t(), h_nr.t())
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = _product(g_no, weight_oi.t()).addmm_(to_h_nr, down_ri).view(x.shape)
        return to_x, None, None, to_down, to_up, None


def _product(
    a_nk: torch.Tensor, b_mk: torch.Tensor, bias_m: torch.Tensor | None = None
) -> torch.Tensor:
    """Return `a @ b.T + bias`; `a` may have more dimensions in front, and both may be views."""
    flat = a_nk.reshape(-1, a_nk.shape[-1])
    found: Any = torch.ops.mkldnn._linear_pointwise(flat, b_mk, bias_m, "none", [], "")
    # A view made inside an operation of its own could not be changed in place outside.
    return torch.ops.aten._unsafe_view(found, [*a_nk.shape[:-1], b_mk.shape[0]])


def _fits(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() >= _FEW_ROWS * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
    )
