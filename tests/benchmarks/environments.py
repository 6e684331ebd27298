"""Environments of other tools, made once in the cache folder: each has what its tool wants, none is ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tutor_agent.core.resources import cache_dir

TRL, LLAMA_FACTORY = "trl-1.16.0", "llamafactory-0.9.5"
_BASE = "torch==2.13.0"
ENVIRONMENTS: dict[str, tuple[list[str], list[str]]] = {
    TRL: (
        [
            *(_BASE, "transformers==5.24.0", "peft==0.21.2", "accelerate==1.15.0"),
            *("datasets==5.2.0", "tensorboardX==2.6.5"),
        ],
        ["trl==1.16.0"],
    ),
    LLAMA_FACTORY: (
        [
            *(
                _BASE,
                "transformers==5.6.0",
                "accelerate==1.11.0",
                "datasets==4.0.0",
                "peft==0.18.1",
            ),
            *("trl==0.24.0", "einops", "fire", "omegaconf", "pandas", "sentencepiece", "tiktoken"),
            *("sse-starlette", "tyro<0.9", "uvicorn", "fastapi", "hf-transfer", "matplotlib"),
            *("scipy", "pyyaml", "modelscope", "av", "gradio<=5.50"),
        ],
        ["llamafactory==0.9.5", "torchdata"],
    ),
}
"""What is installed, and what is installed without the pins that would pull other versions."""


def environment_of(name: str) -> Path:
    """Return the interpreter of an environment, made or completed when something is missing; "" is our own."""
    if not name:
        return Path(sys.executable)
    folder = cache_dir() / "benchmarks" / name
    python, done = folder / "bin" / "python", folder / "complete"
    first, alone = ENVIRONMENTS[name]
    wanted = "\n".join([*first, *alone])
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {name} …", flush=True)
    if not python.is_file():
        venv.create(folder, with_pip=True)
    for packages in (first, ["--no-deps", *alone]):
        command = [str(python), "-m", "pip", "install", "-q", *packages]
        subprocess.run(command, check=True, capture_output=True, text=True)
    # LLaMA-Factory imports it for sound, and only the import is needed for text.
    (site,) = (folder / "lib").glob("python3*/site-packages")
    (site / "torchaudio").mkdir(exist_ok=True)
    (site / "torchaudio" / "__init__.py").touch()
    done.write_text(wanted, encoding="utf-8")
    return python
