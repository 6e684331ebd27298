"""A GPU, or a named reason why these tests do not run; the tiny models of the training tests."""

from __future__ import annotations

import pytest
import torch

from tests.train.conftest import _signals, llama

__all__ = ["_signals", "llama"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here, and skip it where torch sees no GPU."""
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))
