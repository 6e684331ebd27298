"""A machine without caches, proxies or a hub."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("TUTOR_CACHE_DIR", str(home / "tutor"))
    for name in (
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "CUDA_VISIBLE_DEVICES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
