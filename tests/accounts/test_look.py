"""What every page is made of: Tabler as published, no inline script or style, small scripts, honest words."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template import engines
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.templatetags.flotilla import in_words, number, relative_time

# E-mails are no pages: mail programs drop style sheets and know no content policy.
EVERY_TEMPLATE = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
TEMPLATES = [path for path in EVERY_TEMPLATE if path.parent.name != "mail"]
SCRIPTS = sorted(Path(settings.BASE_DIR, "config/static").rglob("*.js"))
# @tabler/core 1.4.0
TABLER = {
    "vendor/tabler/css/tabler.min.css": "7ef750bd10546a695d0b12767ad8048bd8f3ec5de7daefb1067f9d0daa3d1c9a",
    "vendor/tabler/js/tabler.min.js": "b60c76160e97624574dbb8cf10abe6aee9a6493b60096fdfc15dd1dd2bd99eb9",
}
INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)|<style|\sstyle\s*=|\son[a-z]+\s*=|hx-on|[\"']js:|javascript:", re.IGNORECASE
)


@pytest.mark.parametrize("path", TABLER)
def test_tabler_is_the_published_one(path: str) -> None:
    found = finders.find(path)
    assert found
    assert hashlib.sha256(Path(found).read_bytes()).hexdigest() == TABLER[path]


def test_no_template_carries_script_or_style_of_its_own() -> None:
    found = [
        f"{path.name}:{line_number}: {line.strip()}"
        for path in TEMPLATES
        for line_number, line in enumerate(path.read_text().splitlines(), 1)
        if INLINE.search(re.sub(r"{[{%].*?[%}]}", "", line))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stays_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 100


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (999, "999"), (12345, "12,345"), (1234567.5, "1,234,567.5"), (None, "—"), ("", "—"), ("n/a", "n/a")],
)
def test_numbers_have_thousands_separators(value: object, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "just now"),
        (-3, "in a moment"),
        (59, "59 seconds ago"),
        (61, "1 minute ago"),
        (-3600, "in 1 hour"),
        (23.9 * 3600, "23 hours ago"),
        (49 * 3600, "2 days ago"),
        (45 * 86400, "1 month ago"),
        (400 * 86400, "1 year ago"),
    ],
)
def test_instants_are_told_as_people_tell_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_relative_time_carries_the_exact_instant_in_the_current_zone() -> None:
    with timezone.override("America/New_York"):
        html = relative_time(datetime(2026, 3, 8, 7, 30, tzinfo=UTC))
    assert 'datetime="2026-03-08T07:30:00+00:00"' in html
    assert 'title="Sun 8 Mar 2026, 03:30:00 (EDT)"' in html
    assert relative_time(None) == "—"
    assert ">2 minutes ago<" in relative_time(timezone.now() - timedelta(minutes=2))


def test_the_title_of_a_page_stands_in_the_tab_and_in_the_heading() -> None:
    page = engines["django"].from_string('{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}')
    html = page.render({"name": "<b>Tom & Co</b>"})
    assert "<h1>&lt;b&gt;Tom &amp; Co&lt;/b&gt;" in html
    assert "<title>&lt;b&gt;Tom &amp; Co&lt;/b&gt; · Flotilla</title>" in html


def test_a_destructive_button_says_how_many_people_it_touches() -> None:
    context = {"id": "c", "title": "Cancel it?", "url": "/x/", "button": "Cancel it", "people": 12345}
    html = " ".join(render_to_string("components/_confirm.html", context).split())
    assert "This touches <strong>12,345</strong> people." in html
    assert "<strong>1</strong> person." in render_to_string("components/_confirm.html", {**context, "people": 1})
    assert "This touches" not in render_to_string("components/_confirm.html", {**context, "people": None})


def test_user_text_is_escaped_in_every_component() -> None:
    evil = "<script>alert(1)</script>"
    for name in ("_state", "_empty", "_figure", "_progress", "_confirm"):
        fields = dict.fromkeys(("word", "reason", "title", "text", "button", "label", "note", "opener"), evil)
        assert evil not in render_to_string(f"components/{name}.html", {**fields, "url": "/x/"})
