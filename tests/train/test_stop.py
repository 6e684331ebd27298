"""A run that is stopped, or whose process is killed, loses next to nothing and goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from transformers import TrainerCallback

from tests.support import wait_for
from tests.train import tiny
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.checkpoints import faults_of, is_good, last_good, step_of
from tutor_agent.core.plan import Plan
from tutor_agent.core.processes import recorded
from tutor_agent.training import session

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]

MOST_LOST = 3
# A constant rate, so that a run may be made shorter without learning anything else.
ENDLESS: dict[str, Any] = {
    "launch__processes": 2,
    "params__dropout": 0.1,
    "optim__micro_batch": 2,
    "optim__max_steps": 100_000,
    "optim__epochs": 90_000,
    "optim__schedule": "constant",
    "optim__warmup": 0,
    "evaluation__every": 50_000,
    "evaluation__samples": 0,
}
WAYS: dict[str, dict[str, Any]] = {
    "term-rank": {},
    "term-launcher": {},
    "kill-rank": {"evaluation__every": 2},
}


@dataclass(frozen=True)
class Stopped:
    """A run that was ended from outside, what went on from it, and what nobody disturbed."""

    run: Path
    again: Path
    whole: Path
    checkpoint: Path
    asked_at: int


def _end_from_outside(run: Path, model: Path, way: str) -> int:
    """Start a run, end it in a way once it has a few steps, and return how many it had then."""
    process = tiny.start_ranks(run, model, 2)

    def far_enough() -> bool:
        return (run / "events.jsonl").is_file() and len(tiny.events(run, "step")) >= 5

    try:
        wait_for(far_enough, 240, "five steps")
        rank = recorded(run / "logs" / "attempt-0" / "rank-1.json")
        assert rank is not None
        reached = tiny.events(run, "step")[-1].step
        number = signal.SIGKILL if way == "kill-rank" else signal.SIGTERM
        os.kill(process.pid if way == "term-launcher" else rank.pid, number)
        process.wait(timeout=120)
    except (subprocess.TimeoutExpired, AssertionError):
        process.terminate()
        process.wait(timeout=60)
        raise
    return reached


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> dict[str, Stopped]:
    """Three runs ended from outside; then all go on, beside one that was left alone, in one launch."""
    folder = tmp_path_factory.mktemp("stopped")
    found: dict[str, Stopped] = {}
    for way, changes in WAYS.items():
        run = tiny.make_run(folder, "lora", way, **{**ENDLESS, **changes})
        reached = _end_from_outside(run, llama, way)
        checkpoint = last_good(run / "checkpoints")
        assert checkpoint is not None, tiny.ending(run)
        again, whole = folder / f"{way}-on-1", folder / "whole-1"
        found[way] = Stopped(run, again, whole, checkpoint, reached)
    end = max(tiny.events(one.run, "step")[-1].step for one in found.values()) + 3
    shorter = {**ENDLESS, "optim__max_steps": end}
    jobs = [{"run": str(tiny.make_run(folder, "lora", "whole", **shorter))}]
    for way, one in found.items():
        tiny.make_run(folder, "lora", f"{way}-on", **shorter)
        jobs.append({"run": str(one.again), "resume": str(one.checkpoint)})
    tiny.train_several(jobs, llama)
    return found


@pytest.mark.parametrize("way", ["term-rank", "term-launcher"])
def test_sigterm_gives_a_complete_checkpoint_and_a_clean_end(
    stopped: dict[str, Stopped], way: str
) -> None:
    one = stopped[way]
    assert tiny.ending(one.run)["state"] == "stopped"
    assert faults_of(one.checkpoint, world_size=2) == []
    assert is_good(one.checkpoint)
    last = tiny.events(one.run, "step")[-1].step
    assert one.asked_at <= step_of(one.checkpoint)
    assert last - step_of(one.checkpoint) == 0
    assert not (one.run / "result").exists()
    for rank in (0, 1):
        assert (one.run / "logs" / "attempt-0" / f"rank-{rank}.ended").is_file()


def test_a_killed_process_costs_a_few_steps(stopped: dict[str, Stopped]) -> None:
    one = stopped["kill-rank"]
    assert tiny.events(one.run, "step")[-1].step - step_of(one.checkpoint) <= MOST_LOST
    assert faults_of(one.checkpoint, world_size=2) == []
    assert all(event.payload["state"] == "failed" for event in tiny.events(one.run, "run_ended"))


@pytest.mark.parametrize("way", WAYS)
def test_it_goes_on_as_if_nothing_had_been(stopped: dict[str, Stopped], way: str) -> None:
    one = stopped[way]
    assert tiny.ending(one.again)["state"] == "completed", tiny.ending(one.again)
    whole = tiny.losses(one.whole)
    before, after = tiny.losses(one.run), tiny.losses(one.again)
    assert before == whole[: len(before)]
    assert after == whole[step_of(one.checkpoint) :]
    last = f"checkpoints/checkpoint-{len(whole)}"
    assert tiny.same_state(one.again / last, one.whole / last)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("when", ["on_step_begin", "on_evaluate", "on_save"])
def test_a_signal_is_heeded_whenever_it_comes(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, when: str
) -> None:
    def send(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            os.kill(os.getpid(), number)

    sender = type("Sender", (TrainerCallback,), {when: send})
    make = session.make_trainer

    def with_sender(*given: Any) -> Any:
        trainer = make(*given)
        trainer.add_callback(sender())
        return trainer

    monkeypatch.setattr(session, "make_trainer", with_sender)
    run = tiny.make_run(tmp_path, optim__max_steps=20)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["state"] == "stopped"
    last = tiny.events(run, "step")[-1].step
    assert 3 <= last <= 4
    checkpoint = run / "checkpoints" / f"checkpoint-{last}"
    assert faults_of(checkpoint) == []
    assert is_good(checkpoint)
    plan = Plan.load(run / "plan.yaml")
    apply(plan, PlanChange.set(optim__max_steps=last + 2)).save(run / "plan.yaml")
    monkeypatch.setattr(session, "make_trainer", make)
    assert tiny.train_here(monkeypatch, run, llama, checkpoint) == 0
    assert tiny.ending(run)["state"] == "completed"
