"""The supervisor: one detached, light process a run. `python -m tutor_agent.runs.supervise RUN --attempt K`.

It starts the ranks, reads their events, writes findings and status, notices a hang, passes a stop on,
repairs what the plan allows to be repaired, and writes the end. It can be killed at any time: the ranks notice, save a checkpoint and stop.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tutor_agent.core.errors import LaunchError, TutorError
from tutor_agent.core.processes import identify, is_alive, record
from tutor_agent.core.storage import append_line
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.watch import Watch
from tutor_agent.runs import control
from tutor_agent.runs.autopilot import FAILED, repair_by_itself
from tutor_agent.runs.evidence import finding_from_card, memory_kills
from tutor_agent.runs.fates import conclude, killed_first, read_fates, tail
from tutor_agent.runs.folder import RunFolder, Status, write_status
from tutor_agent.runs.follow import Follower
from tutor_agent.runs.launch.argv import rank_environment
from tutor_agent.runs.launch.record import Launch
from tutor_agent.runs.ledger import ledger
from tutor_agent.runs.observe import observe
from tutor_agent.runs.outcome import begin_verification
from tutor_agent.runs.processes import living, ranks_of, send, sweep, wait_until
from tutor_agent.runs.progress import Progress
from tutor_agent.runs.report import write_report
from tutor_agent.runs.stall import StallClock, describe_stall, stall_evidence, suspended
from tutor_agent.runs.view import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.processes import ProcessId
    from tutor_agent.core.text import Text
    from tutor_agent.runs.fates import RankFate

_REFRESH_SECONDS = 10.0
_LAUNCHER_SECONDS = 60.0
_DISK_SECONDS = 60.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Supervisor:
    """Watches over one attempt of one run."""

    def __init__(self, folder: RunFolder, launch: Launch) -> None:
        self._folder = folder
        self._launch = launch
        self._plan = folder.load_plan()
        self._me = identify(role="supervisor")
        self._progress = Progress()
        self._follower = Follower(folder)
        self._watch = Watch(self._plan)
        self._repair = _guarded(lambda: begin_verification(folder), None)
        self._status = Status(state="starting", attempt=launch.attempt, supervisor=self._me)
        self._clock = StallClock(launch.timing, time.monotonic())
        self._stop_deadline: float | None = None
        self._ranks_gone: float | None = None
        self._memory_kills = memory_kills()
        self._launcher: subprocess.Popen[bytes] | None = None

    def take_over(self) -> None:
        """Read what earlier attempts left, and make the run ours.

        Raises:
            OSError: The folder cannot be written; nothing was started.
        """
        _end_cut_line(self._folder.events)
        for event in self._follower.poll():
            self._progress.add(event)
            self._look_at(event)
        self._status = write_status(self._folder, self._status)

    def run(self) -> None:
        """Start the ranks, watch them to their end, and write that end."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._start()
        except OSError as error:
            words = f"{self._launch.argv[0]}: {error}"
            failure = LaunchError(
                f"The ranks could not be started: {words}.", f"训练进程无法启动：{words}。"
            )
            self._write_end(
                self._status.model_copy(update={"state": "failed", "reason": failure.text})
            )
            return
        while not self._is_over():
            self._read_events()
            self._pass_stop_on()
            self._notice_stall()
            self._save_status()
            self._wait()
        self._finish()

    def _start(self) -> None:
        logs = self._folder.attempt(self._launch.attempt)
        environment = rank_environment(
            self._launch.job,
            run=self._folder.path,
            attempt=self._launch.attempt,
            supervisor=self._me,
            grace_seconds=self._launch.timing.grace,
        )
        with (logs / "launcher.log").open("ab") as stream:
            self._launcher = subprocess.Popen(
                list(self._launch.argv),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._folder.path,
                env=environment,
            )
        with contextlib.suppress(OSError):
            record(logs / "launcher.json", identify(self._launcher.pid, role="launcher"))

    def _on_terminate(self, _number: int, _frame: object) -> None:
        self._folder.stop_marker.touch()

    def _is_over(self) -> bool:
        return self._launcher_code() is not None and not self._living_ranks()

    def _launcher_code(self) -> int | None:
        return self._launcher.poll() if self._launcher is not None else None

    def _living_ranks(self) -> dict[int, ProcessId]:
        ranks = ranks_of(self._folder, self._launch.attempt)
        return {rank: identity for rank, identity in ranks.items() if is_alive(identity)}

    def _wait(self) -> None:
        if self._launcher is not None and self._launcher.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._launcher.wait(self._launch.timing.poll)
        else:
            wait_until(lambda: not self._living_ranks(), self._launch.timing.poll)

    def _read_events(self) -> None:
        now = time.monotonic()
        for event in _guarded(self._follower.poll, []):
            self._progress.add(event)
            self._clock.heard(event, now)
            for finding in self._look_at(event):
                self._add_finding(finding)

    def _look_at(self, event: Event) -> list[Finding]:
        """Return what an event newly shows, and hold it against the fault that this run repairs."""
        found = _guarded(lambda: self._watch.feed(event), [])
        if self._repair is not None:
            self._repair.feed(event)
            self._repair.notice(*found)
        return found

    def _add_finding(self, finding: Finding) -> None:
        with contextlib.suppress(OSError):
            self._folder.add_finding(finding)

    def _pass_stop_on(self) -> None:
        """Pass on a stop that is wanted, or forced by the death of the launcher; insist after the grace."""
        now, ranks = time.monotonic(), self._living_ranks()
        wanted = self._folder.stop_marker.exists()
        orphaned = self._launcher_code() is not None and bool(ranks)
        if self._stop_deadline is None and (wanted or orphaned):
            self._stop_deadline = now + (
                self._wanted_grace() if wanted else self._launch.timing.grace
            )
            control.ask(self._folder)
        if self._stop_deadline is not None and now > self._stop_deadline:
            send(living(self._folder), signal.SIGKILL)
        self._end_idle_launcher(now, ranks)

    def _end_idle_launcher(self, now: float, ranks: dict[int, ProcessId]) -> None:
        """A launcher that stays when all its ranks have ended waits for nothing."""
        if ranks or not ranks_of(self._folder, self._launch.attempt):
            self._ranks_gone = None
            return
        self._ranks_gone = self._ranks_gone or now
        if now - self._ranks_gone > _LAUNCHER_SECONDS:
            send(living(self._folder), signal.SIGKILL)

    def _wanted_grace(self) -> float:
        try:
            return float(self._folder.stop_marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self._launch.timing.grace

    def _notice_stall(self) -> None:
        now = time.monotonic()
        if not self._clock.begins(self._progress, now):
            return
        ranks = self._living_ranks()
        send(ranks.values(), signal.SIGUSR2)
        silence = self._clock.silence(now)
        if len(ranks) > 1:
            evidence = stall_evidence(silence, self._progress, ranks, time.time())
            _guarded(lambda: self._add_stall(evidence, sure=bool(suspended(ranks))), None)
        _log.warning("%s", describe_stall(silence, self._progress).en)

    def _add_stall(self, evidence: tuple[Text, ...], *, sure: bool) -> None:
        """One rank waits for nobody; of several some wait for the others."""
        finding = finding_from_card(
            "rank_desync",
            evidence,
            observe(self._folder),
            confidence=0.7 if sure else 0.5,
            severity="warn",
            step=self._progress.step,
        )
        self._add_finding(finding)

    def _save_status(self) -> None:
        started = self._progress.attempt == self._launch.attempt and self._progress.last_time
        state = "stopping" if self._stop_deadline else "running" if started else "starting"
        silence = self._clock.silence(time.monotonic())
        changes = {
            "state": state,
            "step": self._progress.step,
            "total_steps": self._progress.total_steps,
            "reason": self._status.reason,
            **self._proof(),
        }
        if not self._clock.stalled:
            changes["reason"] = None
        elif self._status.reason is None:
            changes["reason"] = describe_stall(silence, self._progress)
        status = self._status.model_copy(update=changes)
        if status != self._status or time.time() - status.updated > _REFRESH_SECONDS:
            self._write(status)

    def _proof(self, *, examined: bool = False) -> dict[str, object]:
        """Return how the repair that this run is has held so far."""
        if self._repair is None:
            return {}
        return {"fault_gone": self._repair.gone(examined=examined), "held": self._repair.held}

    def _write(self, status: Status) -> bool:
        try:
            self._status = write_status(self._folder, status)
        except OSError as error:
            _log.warning("status.json could not be written: %s", error)
            return False
        return True

    def _finish(self) -> None:
        sweep(self._folder, 5)
        self._read_events()
        progress = self._progress if self._progress.attempt == self._launch.attempt else Progress()
        attempt = self._launch.attempt
        fates = read_fates(self._folder, attempt, memory_short=memory_kills() > self._memory_kills)
        outcome = conclude(
            self._folder,
            progress,
            fates,
            outputs=self._launch.job.outputs,
            launcher_code=self._launcher_code(),
        )
        bad = outcome.state in {"halted", "failed"}
        cause = _guarded(lambda: self._diagnose(fates), None) if bad else None
        deed = _guarded(lambda: repair_by_itself(self._folder, outcome.state, cause), FAILED)
        changes = {
            "state": outcome.state,
            "reason": outcome.reason,
            "step": self._progress.step,
            "cause": cause,
            "autopilot": deed.text if deed else None,
            "repaired_by": deed.child if deed else None,
            **self._proof(examined=True),
        }
        self._write_end(self._status.model_copy(update=changes))

    def _diagnose(self, fates: tuple[RankFate, ...]) -> str | None:
        """Append what the events and logs show, and return the slug of the likeliest cause."""
        seen = observe(self._folder)
        findings = list(diagnose(seen).findings)
        live = [found for found in self._folder.load_findings() if found.severity == "stop"]
        killed = killed_first(fates)
        if killed is not None and killed.memory_short:
            evidence = (killed.text(),)
            step = self._progress.step
            memory = finding_from_card(
                "oom_host_ram", evidence, seen, confidence=0.8, severity="stop", step=step
            )
            findings.insert(0, memory)
        for finding in findings:
            self._add_finding(finding)
        if self._repair is not None:
            self._repair.notice(*findings[:1])
        # What was seen live rests on more than what is left at the end: the surer one names the cause.
        surest = max([*findings[:1], *live], key=lambda found: found.confidence, default=None)
        return surest.cause if surest is not None else None

    def _write_end(self, status: Status) -> None:
        """Write the report, then the final status: who sees the end finds everything in place."""
        _guarded(lambda: self._report(status), None)
        wait_until(lambda: self._write(status), _DISK_SECONDS)

    def _report(self, status: Status) -> None:
        changes = {
            "state": status.state,
            "reason": status.reason,
            "fault_gone": status.fault_gone,
            "held": status.held,
            "autopilot": status.autopilot,
            "repaired_by": status.repaired_by,
            "seconds_left": None,
            "trials": ledger(self._folder, status=status),
        }
        write_report(self._folder, read_run(self._folder.path).model_copy(update=changes))


def main(argv: Sequence[str] | None = None) -> int:
    """Detach, take the run over, and watch it; returns in the starting process once that is done."""
    parser = argparse.ArgumentParser(
        prog="python -m tutor_agent.runs.supervise", description=__doc__
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--attempt", type=int, required=True, help="attempt to start")
    options = parser.parse_args(argv)
    folder = RunFolder(options.run.resolve())
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        return 0 if os.read(reader, 1) else 1
    os.close(reader)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return _supervise(folder, options.attempt, ready=lambda: _announce(writer))
    except (TutorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _supervise(folder: RunFolder, attempt: int, ready: Callable[[], None]) -> int:
    with (folder.logs / "supervisor.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                f"another supervisor watches {folder.name!r} already",
                f"{folder.name!r} 已由另一个监管进程接管",
            ) from None
        supervisor = Supervisor(folder, Launch.load(folder, attempt))
        supervisor.take_over()
        ready()
        supervisor.run()
    return 0


def _announce(writer: int) -> None:
    os.write(writer, b"1")
    os.close(writer)


def _end_cut_line(path: Path) -> None:
    """End a line that a killed writer left open, so that the next event does not grow onto it."""
    if path.exists() and tail(path, 1) != "\n" and path.stat().st_size:
        append_line(path, "")


def _guarded(action: Callable[[], _T], otherwise: _T) -> _T:
    """Run `action`; a fault of ours must never end the watch over a run that is sound."""
    try:
        return action()
    except Exception:  # noqa: BLE001 - border: the supervisor
        _log.exception("a part of the supervisor failed")
        return otherwise


if __name__ == "__main__":
    sys.exit(main())
