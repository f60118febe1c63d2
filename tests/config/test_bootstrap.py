"""The virtual environment that `./run` and `./test` make, on machines with less than they hope for."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from config import bootstrap


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A machine whose Python lacks the named modules, and a place for a new environment."""
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / "venv")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / "venv" / "bin" / "python")
    find_spec = importlib.util.find_spec

    def lack(*names: str) -> None:
        def without(name: str) -> ModuleSpec | None:
            return None if name in names else find_spec(name)

        monkeypatch.setattr(importlib.util, "find_spec", without)

    return lack


def test_without_ensurepip_the_machines_own_pip_serves_the_environment(lacking: Callable[..., None]) -> None:
    lacking("ensurepip")
    pip = bootstrap.virtual_environment()
    assert subprocess.run([*pip, "--version"], check=True, capture_output=True).stdout
    assert bootstrap.PYTHON.exists()


def test_without_any_pip_one_line_names_the_package_to_install(
    lacking: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lacking("ensurepip", "pip")
    with pytest.raises(SystemExit) as end:
        bootstrap.virtual_environment()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "apt install python3-venv" in said
    assert said.count("\n") == 1


def test_an_environment_of_another_python_is_made_anew(lacking: Callable[..., None]) -> None:
    lacking("ensurepip")
    (bootstrap.VENV / "bin").mkdir(parents=True)
    (bootstrap.VENV / "pyvenv.cfg").write_text("version = 3.9\n")
    bootstrap.PYTHON.symlink_to("/nowhere/python3.9")
    bootstrap.virtual_environment()
    assert bootstrap.works_with_this_python()


def test_the_development_lock_holds_every_runtime_pin() -> None:
    def pins(lock: str) -> set[str]:
        lines = (bootstrap.BASE_DIR / lock).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    runtime = pins(bootstrap.RUNTIME)
    assert len(runtime) > 30
    assert runtime <= pins(bootstrap.DEVELOPMENT)
