"""One tiny model for all training tests, and signal handlers that go back where they were."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.train import tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama on disk."""
    return tiny.save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
