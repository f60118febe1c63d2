"""The shape of the tree: imports run downhill, the pure core stays pure, and doors stay where they are."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
APPS = ["accounts", "devices", "campaigns", "monitoring"]  # each may import itself and those before it
# Inside an app: a layer imports its own and lower ones. What isn't named here may be imported from anywhere.
LAYERS = [
    {"engine"},
    {"models", "querysets"},
    {"outbox", "jobs"},
    {"actions"},
    {"views", "consumers", "management"},
]
VAGUE = {"utils", "helpers", "util", "helper", "common", "misc", "manager", "managers", "processor"}
NEONIZE = "devices/gateway/whatsapp_client.py"


class Import(NamedTuple):
    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def source_files() -> list[Path]:
    return [
        file
        for package in [*APPS, "config"]
        for file in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in file.parts
    ]


def imports(file: Path) -> Iterator[Import]:
    """Every module the file imports, also inside functions and under TYPE_CHECKING."""
    package = file.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield Import(file, node.lineno, f"{module}.{name.name}")


def layer(parts: tuple[str, ...]) -> int | None:
    """The height of a module inside its app; None when it may be used from everywhere."""
    for height, names in enumerate(LAYERS):
        if len(parts) > 1 and parts[1].removesuffix(".py") in names:
            return height
    return None


EVERY_IMPORT = [found for file in source_files() for found in imports(file)]


def test_there_are_imports_to_look_at() -> None:
    assert len(EVERY_IMPORT) > 100


def test_imports_between_apps_run_downhill() -> None:
    climbing = []
    for found in EVERY_IMPORT:
        importer, imported = found.file.relative_to(ROOT).parts[0], found.module.split(".")[0]
        if imported == "tests":
            climbing.append(str(found))
        if importer == "config":
            continue
        if imported == "config" or (imported in APPS and APPS.index(imported) > APPS.index(importer)):
            climbing.append(str(found))
    assert not climbing, "\n".join(climbing)


def test_imports_inside_an_app_run_downhill() -> None:
    climbing = []
    for found in EVERY_IMPORT:
        here, there = found.file.relative_to(ROOT).parts, tuple(found.module.split("."))
        if here[0] != there[0] or here[0] == "config":
            continue
        mine, theirs = layer(here), layer(there)
        if mine is not None and theirs is not None and theirs > mine and not is_doorbell(found):
            climbing.append(str(found))
    assert not climbing, "\n".join(climbing)


def is_doorbell(found: Import) -> bool:
    """A job is ids in, then one call of an action. It may name that action as long as no action imports the job."""
    here, there = found.file.relative_to(ROOT).parts, found.module.split(".")
    if not (here[1].removesuffix(".py") == "jobs" and there[1] == "actions"):
        return False
    actions = [other for other in EVERY_IMPORT if other.file.relative_to(ROOT).parts[:2] == (here[0], "actions")]
    return not any(other.module.startswith(f"{here[0]}.jobs") for other in actions)


def test_the_engine_core_is_standard_library_only() -> None:
    foreign = [
        str(found)
        for found in EVERY_IMPORT
        if found.file.is_relative_to(ROOT / "campaigns" / "engine")
        and found.module.split(".")[0] not in sys.stdlib_module_names
        and not found.module.startswith("campaigns.engine")
        and not composes_text(found)
    ]
    assert not foreign, "\n".join(foreign)


def composes_text(found: Import) -> bool:
    """Message texts are Liquid (STACK): the one library the core may lean on, in the one file that renders."""
    return found.file.name == "compose.py" and found.module.split(".")[0] == "liquid"


def test_only_one_module_imports_neonize() -> None:
    doors = {
        str(found.file.relative_to(ROOT))
        for found in EVERY_IMPORT
        if found.module.split(".")[0] in ("neonize", "whatsmeow")
    }
    assert doors <= {NEONIZE}


def test_gateways_know_no_django() -> None:
    knowing = [
        str(found)
        for found in EVERY_IMPORT
        if found.file.is_relative_to(ROOT / "devices" / "gateway") and found.module.split(".")[0] == "django"
    ]
    assert not knowing, "\n".join(knowing)


def test_what_runs_before_the_installation_is_standard_library_only() -> None:
    early = {"bootstrap.py", "env_file.py", "service_urls.py", "tether.py"}
    foreign = [
        str(found)
        for found in EVERY_IMPORT
        if found.file.parent == ROOT / "config"
        and found.file.name in early
        and found.module.split(".")[0] not in sys.stdlib_module_names
        and found.module.split(".")[:2] not in (["config", "env_file"], ["config", "service_urls"])
    ]
    assert not foreign, "\n".join(foreign)


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_names_say_what_a_module_is_for(file: Path) -> None:
    assert file.stem not in VAGUE
    classes = [node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
    vague = [name for name in classes if name.endswith(("Processor", "Helper", "Util", "Utils"))]
    assert not vague, f"{file.relative_to(ROOT)}: {', '.join(vague)}"


@pytest.mark.parametrize(
    "file",
    [file for file in source_files() if file.read_text().strip() and file.name != "__init__.py"],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_every_module_says_what_it_owns(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file.relative_to(ROOT)} opens without a sentence"
