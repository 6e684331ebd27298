"""Faults of code and machine, put into a training process from outside: `NAME` or `NAME@STEP`.

Each wraps one module of the trainer right after its import; the product knows nothing of it.
"""

from __future__ import annotations

import dataclasses
import errno
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

_SESSION = "tutor_agent.training.session"
_STEP = 20


def lie_in_wait(words: str) -> None:
    """Arm the sabotage `NAME@STEP` for when its module is imported."""
    name, _, step = words.partition("@")
    module, act = SABOTAGE[name]
    sys.meta_path.insert(0, _Finder(module, lambda found: act(found, int(step or _STEP))))


class _Finder(importlib.abc.MetaPathFinder):
    """Lets one module be imported as usual, and changes it afterwards."""

    def __init__(self, name: str, then: Callable[[Any], None]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module where it really is."""
        del target
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if fullname != self._name or spec is None or spec.loader is None:
            return None
        usual = spec.loader.exec_module

        def run(module: ModuleType) -> None:
            usual(module)
            self._then(module)

        spec.loader.exec_module = run
        return spec


def _on_trainer(change: Callable[[Any, int, Any], None]) -> Callable[[Any, int], None]:
    """Make a sabotage of a trainer into one of the module that makes it."""

    def act(module: Any, step: int) -> None:
        usual = module.make_trainer

        def make_trainer(run: Any, *others: Any) -> Any:
            trainer = usual(run, *others)
            change(trainer, step, run)
            return trainer

        module.make_trainer = make_trainer

    return act


def _at(trainer: Any, step: int, strike: Callable[[Any], None], *, lasting: bool = False) -> None:
    """Call `strike` with the model before step number `step`, or before every one from there on."""
    from transformers import TrainerCallback

    class Strike(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step + 1 == step or (lasting and state.global_step + 1 >= step):
                strike(given["model"])

    trainer.add_callback(Strike())


def _weight(model: Any) -> Any:
    named = ((n, p) for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1)
    return [parameter for _, parameter in named][-1]


def _nan_weight(trainer: Any, step: int, _run: Any) -> None:
    def strike(model: Any) -> None:
        _weight(model).data.view(-1)[3] = float("nan")

    _at(trainer, step, strike)


def _nan_gradient(trainer: Any, step: int, _run: Any) -> None:
    _at(trainer, step, lambda model: _weight(model).register_hook(lambda g: g * float("nan")))


def _detached(trainer: Any, step: int, _run: Any) -> None:
    def strike(model: Any) -> None:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient: gradient * 0)

    _at(trainer, step, strike)


def _overflow(trainer: Any, step: int, _run: Any) -> None:
    def strike(model: Any) -> None:
        layer = [m for n, m in model.named_modules() if n.endswith("mlp.down_proj")][-1]
        layer.register_forward_hook(lambda _m, _i, output: (output * 1e6).half())

    _at(trainer, step, strike)


def _outlier(trainer: Any, step: int, _run: Any) -> None:
    """One batch with a gradient thousands of times the usual."""
    _scaled(trainer, lambda done: 2e4 if done + 1 == step else 1.0)


def _multiplied(trainer: Any, _step: int, run: Any) -> None:
    _scaled(trainer, lambda _: float(run.plan.optim.accumulate))


def _scaled(trainer: Any, factor: Callable[[int], float]) -> None:
    usual = trainer.compute_loss

    def compute_loss(*given: Any, **named: Any) -> Any:
        return usual(*given, **named) * factor(trainer.state.global_step)

    trainer.compute_loss = compute_loss


def _rate(shape: Callable[[int, int], float]) -> Callable[[Any, int, Any], None]:
    def change(trainer: Any, step: int, _run: Any) -> None:
        def strike(_model: Any) -> None:
            scheduler = trainer.lr_scheduler
            scheduler.lr_lambdas = [lambda done: shape(done, step)] * len(scheduler.lr_lambdas)

        _at(trainer, max(1, step - 1), strike)

    return change


def _no_ends(module: Any, _step: int) -> None:
    usual = module.Encoder.encode_row

    def encode_row(self: Any, row: Any) -> list[Any]:
        found = []
        for example in usual(self, row):
            labels = example.labels[:]
            for place, label in enumerate(labels):
                if label in self.ends:
                    labels[place] = module.IGNORED
            found.append(dataclasses.replace(example, labels=labels, ended=False))
        return found

    module.Encoder.encode_row = encode_row


def _frozen(module: Any, _step: int) -> None:
    usual = module.add_adapters

    def add_adapters(*given: Any, **named: Any) -> Any:
        model, notes = usual(*given, **named)
        for parameter in model.parameters():
            parameter.requires_grad = False
        return model, notes

    module.add_adapters = add_adapters


def _slow_data(trainer: Any, step: int, _run: Any) -> None:
    usual = trainer.data_collator

    def collate(items: Any) -> Any:
        if trainer.state.global_step >= step:
            threading.Event().wait(0.6)
        return usual(items)

    trainer.data_collator = collate


def _growth(trainer: Any, step: int, _run: Any) -> None:
    hoard: list[bytearray] = []
    _at(trainer, step, lambda _: hoard.append(bytearray(b"x" * 12_000_000)), lasting=True)


def _bad_batch(trainer: Any, step: int, _run: Any) -> None:
    """One batch whose answers belong to nothing: a spike that heals."""
    usual = trainer.data_collator

    def collate(items: Any) -> Any:
        batch = usual(items)
        if trainer.state.global_step == step:
            labels = batch["labels"]
            labels[labels != -100] = 7
        return batch

    trainer.data_collator = collate


def _replay(trainer: Any, _step: int, run: Any) -> None:
    if run.options.resume:
        trainer.args.ignore_data_skip = True


def _forget_optimizer(trainer: Any, _step: int, run: Any) -> None:
    if run.options.resume:
        trainer._load_optimizer_and_scheduler = lambda *_: None


def _spoilt_save(spoil: Callable[[Path], None]) -> Callable[[Any, int, Any], None]:
    def change(trainer: Any, step: int, _run: Any) -> None:
        usual = trainer._save

        def save(output_dir: str | None = None, state_dict: Any = None) -> None:
            usual(output_dir, state_dict)
            if trainer.state.global_step >= step and output_dir and "checkpoint-" in output_dir:
                for path in Path(output_dir).glob("*.safetensors"):
                    spoil(path)

        trainer._save = save

    return change


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-2000, os.SEEK_END)
        old = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([old[0] ^ 0x40]))


def _full(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _signal(number: int) -> Callable[[Any, int, Any], None]:
    def change(trainer: Any, step: int, run: Any) -> None:
        if run.place.rank == 1:
            _at(trainer, step, lambda _: os.kill(os.getpid(), number))

    return change


def _no_memory(trainer: Any, step: int, _run: Any) -> None:
    def strike(_model: Any) -> None:
        raise MemoryError("Unable to allocate 64.0 GiB for an array")

    _at(trainer, step, strike)


SABOTAGE: dict[str, tuple[str, Callable[[Any, int], None]]] = {
    "nan-weight": (_SESSION, _on_trainer(_nan_weight)),
    "nan-gradient": (_SESSION, _on_trainer(_nan_gradient)),
    "detached": (_SESSION, _on_trainer(_detached)),
    "frozen": ("tutor_agent.training.adapters", _frozen),
    "overflow": (_SESSION, _on_trainer(_overflow)),
    "outlier": (_SESSION, _on_trainer(_outlier)),
    "multiplied": (_SESSION, _on_trainer(_multiplied)),
    "rate-zero": (_SESSION, _on_trainer(_rate(lambda done, step: float(done < step)))),
    "rate-constant": (_SESSION, _on_trainer(_rate(lambda _done, _step: 1.0))),
    "no-ends": ("tutor_agent.data.labels", _no_ends),
    "slow-data": (_SESSION, _on_trainer(_slow_data)),
    "growth": (_SESSION, _on_trainer(_growth)),
    "bad-batch": (_SESSION, _on_trainer(_bad_batch)),
    "replay": (_SESSION, _on_trainer(_replay)),
    "forget-optimizer": (_SESSION, _on_trainer(_forget_optimizer)),
    "cut-save": (_SESSION, _on_trainer(_spoilt_save(_cut))),
    "flipped-save": (_SESSION, _on_trainer(_spoilt_save(_flip))),
    "full-disk": (_SESSION, _on_trainer(_spoilt_save(_full))),
    "kill-rank": (_SESSION, _on_trainer(_signal(signal.SIGKILL))),
    "stall-rank": (_SESSION, _on_trainer(_signal(signal.SIGSTOP))),
    "no-memory": (_SESSION, _on_trainer(_no_memory)),
}
"""By name: the module that is changed, and how."""
