"""The wheel built from the sdist carries skills and knowledge; an editable install reads them in place."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tutor_agent
from tutor_agent.core.resources import bundled

ROOT = Path(__file__).resolve().parents[2]


def _build(source: Path, target: Path, kind: str) -> Path:
    program = f"from hatchling.build import build_{kind}; print(build_{kind}({str(target)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=True
    )
    return target / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    sdist = _build(ROOT, folder, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return _build(folder / sdist.name.removesuffix(".tar.gz"), folder, "wheel")


def test_wheel_bundles_every_skill_and_card(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("skills", "knowledge"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"tutor_agent/_bundled/{path.relative_to(ROOT).as_posix()}" in names


def test_wheel_holds_no_tests_and_no_caches(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


def test_checkout_is_read_in_place() -> None:
    assert bundled("skills") == Path(tutor_agent.__file__).resolve().parent.parent / "skills"
