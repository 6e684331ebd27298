"""Turn a GGUF file into a safetensors folder, once: `python -m tutor_agent.training.convert`.

transformers reads GGUF by dequantising it, which takes ten times longer than reading safetensors,
and the model it gives refuses to be saved. This module does both once, checks the result against
what was read, and puts the folder in place in one rename.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutor_agent.core.errors import FailedError, NotFoundError, TutorError, UnreadableError
from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SOURCE_NOTE = "tutor-source.json"
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "学习率 5e-5，你好",
    "def f(x):\n\treturn x",
)


def convert(gguf: Path, out: Path) -> Path:
    """Dequantise `gguf` into a safetensors folder at `out` and return it; a finished one is kept.

    Raises:
        NotFoundError: There is no file at `gguf`.
        UnreadableError: The file is not a GGUF model that transformers can read.
        FailedError: The written folder does not give back what was read, or the disk is full.
    """
    if (out / SOURCE_NOTE).is_file():
        return out
    if not gguf.is_file():
        raise NotFoundError(
            f"No GGUF file at {str(gguf)!r}. Give the path of a `.gguf` file.",
            f"{str(gguf)!r} 处没有 GGUF 文件。请给出 `.gguf` 文件的路径。",
        )
    model, tokenizer = _read(gguf)
    building = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        _verify(building, model, tokenizer)
        write_atomic(building / SOURCE_NOTE, json.dumps({"file": gguf.name, "sha256": _hash(gguf)}))
        _put_in_place(building, out)
    except OSError as error:
        raise FailedError(
            f"The converted model could not be written to {str(out)!r}: {error}. Free some disk and try again.",
            f"转换后的模型无法写入 {str(out)!r}：{error}。请腾出磁盘空间后重试。",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tutor_agent.training.convert")
    parser.add_argument("--gguf", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    options = parser.parse_args(arguments)
    try:
        folder = convert(options.gguf, options.out)
    except TutorError as error:
        sys.stderr.write(f"{error.text.en}\n{error.text.zh}\n")
        return error.exit_code
    sys.stdout.write(f"{folder}\n")
    return 0


def _read(gguf: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model: Any
    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **place)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **place)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, struct.error) as error:
        raise UnreadableError(
            f"{gguf.name} cannot be read as a GGUF model: {error}. Allowed: GGUF files of the architectures that transformers knows.",
            f"无法把 {gguf.name} 读成 GGUF 模型：{error}。仅支持 transformers 认识的架构的 GGUF 文件。",
        ) from error
    # transformers keeps the quantiser attached after dequantising, and then refuses to save.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for key in ("local_files_only", "gguf_file", "is_local"):
        tokenizer.init_kwargs.pop(key, None)
    return model.eval(), tokenizer


def _verify(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Read `folder` back and compare every weight, and the tokens of a few probes."""
    again = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).state_dict()
    wrong = [
        name for name, weight in model.state_dict().items() if not torch.equal(weight, again[name])
    ]
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    wrong += [f"tokens of {words!r}" for words in _PROBES if tokens(words) != tokenizer(words)]
    if wrong:
        raise FailedError(
            f"The converted model differs from the GGUF file in {wrong[:3]}. Report this with the file's name.",
            f"转换后的模型与 GGUF 文件不一致：{wrong[:3]}。请附上文件名报告此问题。",
        )


def _put_in_place(building: Path, out: Path) -> None:
    """Rename the finished folder; another process may have finished the same work first."""
    for item in building.iterdir():
        item.chmod(0o644)
    try:
        building.rename(out)
    except OSError:
        if not (out / SOURCE_NOTE).is_file():
            raise


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
