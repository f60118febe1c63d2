"""docs/operations.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitoring.health import NEEDED
from monitoring.redis_check import diagnosis

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
FOUND_BY_NAME = re.compile(r'env\.(?:text|flag|number|real|words|choice|required|read)\([^)]*?"([A-Z][A-Z_]+)"')


def variables() -> list[str]:
    settings = (ROOT / "config" / "settings.py").read_text()
    return sorted({*FOUND_BY_NAME.findall(settings), "DATABASE_URL", "REDIS_URL", "EMBEDDED", "ENV_FILE", "HOST"})


def test_the_settings_were_understood() -> None:
    assert {"SECRET_KEY", "LEASE_TTL", "SIGNUP", "EMAIL_URL", "ALLOWED_HOSTS"} <= set(variables())


@pytest.mark.parametrize("variable", variables())
def test_every_variable_is_explained(variable: str) -> None:
    assert f"`{variable}`" in PAGE


def test_every_part_of_readiness_and_key_of_the_diagnosis_is_explained() -> None:
    for word in (*NEEDED, *NEEDED.values(), *diagnosis()):
        assert f"`{word}`" in PAGE, word


@pytest.mark.parametrize("command", re.findall(r"`manage\.py (\w+)", PAGE))
def test_every_command_it_names_exists(command: str) -> None:
    from django.core.management import get_commands

    assert command in get_commands()


def test_every_link_inside_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    assert {*re.findall(r"\(#([^)]+)\)", PAGE)} <= headings
