"""Static files: what the pages ask for exists, and the look is the one that was checked in review."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.templatetags.static import static
from django.test import Client, override_settings

TABLER = {
    "vendor/tabler/css/tabler.min.css": "7ef750bd10546a695d0b12767ad8048bd8f3ec5de7daefb1067f9d0daa3d1c9a",
    "vendor/tabler/js/tabler.min.js": "b60c76160e97624574dbb8cf10abe6aee9a6493b60096fdfc15dd1dd2bd99eb9",
}


@pytest.mark.parametrize(("name", "sha256"), TABLER.items())
def test_tabler_is_the_file_that_was_looked_at(name: str, sha256: str) -> None:
    found = finders.find(name)
    assert found
    assert hashlib.sha256(Path(found).read_bytes()).hexdigest() == sha256


def test_collecting_names_every_file_by_its_content(tmp_path: Path) -> None:
    hashed = {"staticfiles": {"BACKEND": "config.static_files.HashedStorage"}}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=hashed):
        call_command("collectstatic", interactive=False, verbosity=0)
    assert list((tmp_path / "vendor" / "tabler" / "css").glob("tabler.min.*.css"))
    assert (tmp_path / "staticfiles.json").exists()


def test_whoever_asks_for_the_old_icon_is_shown_the_new_one() -> None:
    answer = Client().get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, static("flotilla/icon.svg"))
    assert finders.find("flotilla/icon.svg")
