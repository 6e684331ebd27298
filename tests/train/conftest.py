"""Tiny models for all training tests, and signal handlers that go back where they were."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import peft
import pytest

from tests.train import shapes, tiny
from tutor_agent.training import adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama on disk."""
    return tiny.save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a tiny model of any kind, made once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = shapes.save(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture
def wrapped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that get adapters, still to be looked at after training."""
    made: list[Any] = []

    def wrap(*arguments: Any) -> Any:
        made.append(peft.get_peft_model(*arguments))
        return made[-1]

    monkeypatch.setattr(adapters, "get_peft_model", wrap)
    return made


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
