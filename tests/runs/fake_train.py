"""A training program without torch: it keeps the rank contract and counts instead of learning."""

from __future__ import annotations

from tutor_agent.core.ranks import enter_rank

PLACE = enter_rank()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import struct  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from tutor_agent.core.checkpoints import mark_good, step_of  # noqa: E402
from tutor_agent.core.events import Event, Kind, append_event  # noqa: E402
from tutor_agent.core.processes import is_alive, recorded  # noqa: E402


class Fake:
    def __init__(self, run: Path, resume: Path | None) -> None:
        self.run, self.resume = run, resume
        self.steps = int(os.environ.get("FAKE_STEPS", "8"))
        self.pace = float(os.environ.get("FAKE_PACE", "0.02"))
        self.seq, self.stop = 0, False
        self.meeting = run / "scene" / f"meeting-{PLACE.attempt}"
        self.meeting.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, self.ask)

    def ask(self, *_: object) -> None:
        self.stop = True

    def say(self, kind: Kind, step: int, **payload: object) -> None:
        if PLACE.rank == 0:
            event = Event(run=self.run.name, attempt=PLACE.attempt, seq=self.seq, t=time.time(),
                          step=step, kind=kind, payload=payload)  # fmt: skip
            self.seq += 1
            append_event(self.run / "events.jsonl", event)

    def agree(self, step: int) -> bool:
        """All ranks meet after a step and share the stop flag, as an all_reduce would."""
        (self.meeting / f"{step}-{PLACE.rank}").write_text(str(int(self.stop)), encoding="utf-8")
        papers = [self.meeting / f"{step}-{rank}" for rank in range(PLACE.world_size)]
        pause, asked_at = threading.Event(), 0.0
        while not all(paper.exists() and paper.read_text(encoding="utf-8") for paper in papers):
            pause.wait(0.01)
            asked_at = asked_at or (time.monotonic() if self.stop else 0.0)
            if asked_at and not self.peers_live() and time.monotonic() - asked_at > 0.2:
                self.say("run_ended", step, state="failed", text_en="Connection reset by peer",
                         text_zh="连接被对端重置")  # fmt: skip
                raise ConnectionResetError("Connection reset by peer")
        return any(paper.read_text(encoding="utf-8") == "1" for paper in papers)

    def peers_live(self) -> bool:
        logs = self.run / "logs" / f"attempt-{PLACE.attempt}"
        peers = [recorded(logs / f"rank-{rank}.json") for rank in range(PLACE.world_size)]
        return all(peer is None or is_alive(peer) for peer in peers)

    def save(self, step: int) -> None:
        if PLACE.rank:
            return
        folder = self.run / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir()
        header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        whole = struct.pack("<Q", len(header)) + header + b"x"
        (folder / "model.safetensors").write_bytes(whole)
        (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
        mark_good(folder)
        self.say("checkpoint", step, path=f"checkpoints/checkpoint-{step}", good=True)

    def train(self) -> None:
        done = step_of(self.resume) if self.resume else 0
        self.say("run_started", done, world_size=PLACE.world_size, total_steps=self.steps,
                 resumed_from=str(self.resume) if self.resume else None)  # fmt: skip
        if done == 0:
            self.say("evaluation", 0, split="test", phase="before", loss=2.0)
        print(f"rank {PLACE.rank} begins, 中文也行", flush=True)
        for step in range(done + 1, self.steps + 1):
            self.trouble(step)
            threading.Event().wait(self.pace)
            self.say("step", step, loss=2.0 / step, grad_norm=1.0, learning_rate=1e-4)
            if self.agree(step):
                self.save(step)
                self.say("run_ended", step, state="stopped", reason="stop_requested")
                return
            if step % 3 == 0 and step > done:
                self.save(step)
                self.say("evaluation", step, split="validation", phase="during", loss=2.5 / step)
        self.say("evaluation", self.steps, split="test", phase="after", loss=1.0)
        if PLACE.rank == 0:
            (self.run / "result" / "adapter.txt").write_text("ok", encoding="utf-8")
        self.say("run_ended", self.steps, state="completed")

    def trouble(self, step: int) -> None:
        """FAKE_TROUBLE is KIND@STEP@RANK and strikes in the first attempt only."""
        kind, _, place = os.environ.get("FAKE_TROUBLE", "").partition("@")
        if not kind or PLACE.attempt or place != f"{step}@{PLACE.rank}":
            return
        if kind == "raise":
            raise ValueError("the fake is broken, token=abcdefgh12345678")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            while True:
                threading.Event().wait(1)
        if kind == "diverge":
            for later, loss in enumerate((8.0, 30.0, 90.0), step):
                self.say("step", later, loss=loss, grad_norm=50.0 * loss)
            self.say("halted", step + 3, reason="diverged")
            raise SystemExit(3)
        if kind == "halt":
            self.say("halted", step, reason="non_finite_loss")
            raise SystemExit(3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    options = parser.parse_args()
    Fake(options.run, options.resume).train()


if __name__ == "__main__":
    main()
