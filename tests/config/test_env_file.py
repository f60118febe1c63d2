"""The `.env` file."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.env_file import read_env_file
from config.service_urls import BadValue


def test_names_and_values_are_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# ours\nPORT=8080\nexport SIGNUP = closed # for now\n\nEMAIL_FROM='Us <us@example.com>'\nEMPTY=\nA=b#c\n"
    )
    assert read_env_file(file) == {
        "PORT": "8080",
        "SIGNUP": "closed",
        "EMAIL_FROM": "Us <us@example.com>",
        "EMPTY": "",
        "A": "b#c",
    }


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}


def test_a_line_that_says_nothing_is_refused_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=8080\nREDIS_URL redis://localhost\n")
    with pytest.raises(BadValue, match=r"^\.env line 2 "):
        read_env_file(file)
