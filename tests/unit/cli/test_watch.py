"""`tutor watch` on other tools' logs: as they grow, when they are missing, replaced, cut, or several."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.unit.diagnose.test_readers_real import LOGS
from tutor_agent.actions.watch import LogWatch
from tutor_agent.cli.commands import run
from tutor_agent.cli.output import Output
from tutor_agent.cli.tail import LogPrinter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def lines(losses: list[float], first: int = 1) -> str:
    return "".join(
        f"{{'loss': {loss}, 'grad_norm': 1.0, 'learning_rate': 1e-4, 'step': {first + i}}}\n"
        for i, loss in enumerate(losses)
    )


FALLING = [2.4, 2.2, 2.1, 1.9, 1.8, 1.7, 1.6, 1.5]
BROKEN = "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1e-4, 'step': 9}\n"


class Clock:
    """Time that passes only in pauses; what happens meanwhile is a list of acts."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.now = 0.0
        self._acts = list(acts)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self._acts:
            self._acts.pop(0)()


def follow(path: Path, *acts: Callable[[], object]) -> int:
    clock = Clock(*acts)
    printer = LogPrinter(path, Output("en"), now=lambda: clock.now, pause=clock.pause)
    return printer.follow(poll_seconds=2.0)


def stop() -> None:
    raise KeyboardInterrupt


def test_a_log_is_waited_for_and_followed_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"

    def add(text: str) -> Callable[[], object]:
        def write() -> None:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(text)

        return write

    code = follow(log, add(lines(FALLING)), add(BROKEN), add("{'train_runtime': 12.5}\n"))
    said = capsys.readouterr().out
    assert code == 3
    assert said.index("waiting for it") < said.index("✖")
    assert "step 9" in said


def test_a_healthy_log_ends_calmly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "train.log"
    log.write_text(lines(FALLING) + "{'train_runtime': 12.5}\n", encoding="utf-8")
    assert follow(log) == 0
    said = capsys.readouterr().out
    assert "Nothing is wrong" in said
    assert "✖" not in said


@pytest.mark.parametrize("way", ["rotated", "emptied"])
def test_a_log_that_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    log = tmp_path / "train.log"
    log.write_text(lines(FALLING) + BROKEN, encoding="utf-8")

    def begin_anew() -> None:
        if way == "rotated":
            log.rename(tmp_path / "train.log.1")
        log.write_text(lines(FALLING[:6]), encoding="utf-8")

    with pytest.raises(KeyboardInterrupt):
        follow(log, begin_anew, lambda: None, stop)
    said = capsys.readouterr().out
    assert "another run begins here" in said
    assert said.rstrip().rsplit("✖", 1)[1].count("Nothing is wrong") == 1


def test_silence_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "train.log"
    log.write_text(lines(FALLING), encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        follow(log, *[lambda: None] * 200, stop)
    assert capsys.readouterr().out.count("nothing new for") == 1


def test_a_doubt_must_last_and_a_broken_number_need_not(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    watch = LogWatch(log, "en")
    assert watch.look() is None
    rising = [*FALLING, 2.9, 4.1, 5.2]
    log.write_text(lines(rising), encoding="utf-8")
    first = watch.look()
    assert first is not None
    assert (first.diagnosis.verdict, first.news) == ("fault", None)
    assert watch.look() is None
    log.write_text(lines([*rising, 6.1]), encoding="utf-8")
    second = watch.look()
    assert second is not None
    assert second.news is not None
    log.write_text(lines(FALLING) + BROKEN, encoding="utf-8")
    third = LogWatch(log, "en").look()
    assert third is not None
    assert third.news is not None


def test_the_newest_run_of_a_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, log in (("one", "trl-nan.log"), ("two", "trl-healthy.log")):
        (tmp_path / name).mkdir()
        shutil.copyfile(LOGS / log, tmp_path / name / "train.log")
    assert run(["watch", "--once", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 runs in this folder" in said
    assert "two" in said


@pytest.mark.parametrize(
    ("name", "code"),
    [("trl-healthy.log", 0), ("trl-nan.log", 3), ("missing.log", 2), ("missing/missing.log", 2)],
)
def test_exit_codes(name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "--once", str(LOGS / name)]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_empty_folder_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "--once", str(tmp_path)]) == 2
    assert "no log yet" in capsys.readouterr().err


def test_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "--once", "--json", str(LOGS / "trl-overfit.log")]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["causes"][0]["cause"] == "overfitting"


def test_ctrl_c_tells_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", press)
    assert run(["watch", str(LOGS / "slurm-preempted.out")]) == 130
    assert "preemption" in capsys.readouterr().out
