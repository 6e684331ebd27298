"""The model hub, with a short patience: what is cached, and what a few small requests can tell."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

import huggingface_hub

from tutor_agent.core.text import Text

PATIENCE = 4.0
"""Seconds until the hub counts as unreachable."""
_ID = re.compile(r"^[\w.-]+/[\w.-]+$|^[\w.-]+$", re.ASCII)
_TRUE = {"1", "on", "yes", "true"}


class Answer(NamedTuple):
    """What the hub said, or why it said nothing."""

    data: dict[str, Any] | None
    reason: Text | None = None


def is_hub_id(source: str) -> bool:
    """Return whether `source` has the form of a repository name."""
    return bool(_ID.match(source)) and ".." not in source and len(source) <= 96


def endpoint() -> str:
    """Return the hub's address (`HF_ENDPOINT` overrides it)."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Return whether the person forbade the network (`HF_HUB_OFFLINE`)."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in _TRUE for name in names)


def hub_cache() -> Path:
    """Return the folder in which Hugging Face's libraries keep downloads."""
    if stated := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(stated).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "hub"


def cached_snapshot(model_id: str, revision: str = "main") -> Path | None:
    """Return the cached folder of `model_id` at `revision`, complete or not."""
    repository = hub_cache() / f"models--{model_id.replace('/', '--')}"
    commit = revision
    reference = repository / "refs" / revision
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
    folder = repository / "snapshots" / commit
    return folder if (folder / "config.json").is_file() else None


def is_reachable(address: str | None = None, seconds: float = PATIENCE) -> bool:
    """Return whether a connection can be opened within `seconds`, name look-up included.

    The look-up has no time-out of its own and can hang for half a minute without a network, hence
    the thread.
    """
    target = urlsplit(address or endpoint())
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (443 if target.scheme == "https" else 80)
    connected = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((target.hostname or "", port), timeout=seconds):
                connected.set()
        except OSError:
            pass
        finally:
            done.set()

    done = threading.Event()
    threading.Thread(target=connect, daemon=True).start()
    done.wait(seconds)
    return connected.is_set()


def unreachable() -> Text:
    """Say why the hub is not asked."""
    if is_offline():
        return Text(
            en="hub: not asked, HF_HUB_OFFLINE is set", zh="模型站点：已设置 HF_HUB_OFFLINE，未访问"
        )
    return Text(
        en=f"hub: {endpoint()} cannot be reached within {PATIENCE:.0f} s (HF_ENDPOINT names a mirror)",
        zh=f"模型站点：{PATIENCE:.0f} 秒内无法连接 {endpoint()}（可用 HF_ENDPOINT 指定镜像）",
    )


def fetch_json(model_id: str, name: str, revision: str = "main") -> Answer:
    """Fetch one small JSON file of a repository."""
    path = f"{quote(model_id)}/resolve/{quote(revision, safe='')}/{quote(name)}"
    request = urllib.request.Request(f"{endpoint()}/{path}", headers={"User-Agent": "tutor-agent"})
    if token := huggingface_hub.get_token():
        # Not passed on when the hub redirects the download to another host.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=2 * PATIENCE) as response:
            data = json.loads(response.read(8 * 2**20))
    except urllib.error.HTTPError as error:
        return Answer(None, _refused(model_id, error.code))
    except (OSError, ValueError) as error:
        return Answer(None, Text(en=f"hub: {error}", zh=f"模型站点：{error}"))
    return Answer(cast("dict[str, Any]", data) if isinstance(data, dict) else {})


def _refused(model_id: str, code: int) -> Text:
    if code in {401, 403}:
        return Text(
            en=f"hub: {model_id} does not exist there, or needs a licence to be accepted and HF_TOKEN set",
            zh=f"模型站点：{model_id} 不存在，或需要先同意许可协议并设置 HF_TOKEN",
        )
    if code == 404:
        return Text(en=f"hub: no repository {model_id}", zh=f"模型站点：没有仓库 {model_id}")
    return Text(en=f"hub: answer {code}", zh=f"模型站点：返回 {code}")
