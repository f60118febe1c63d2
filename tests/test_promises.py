"""Every promise that docs/engine.md makes is held by the tests it names, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PROMISES = {f"p{number}" for number in range(1, 19)}
NAMED = re.compile(r"def (test_((?:p\d+_)+)\w+)")


def named_tests() -> dict[str, set[str]]:
    """Each test whose name begins with promises, and which these are."""
    sources = (path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    found = (match for source in sources for match in NAMED.finditer(source))
    return {match[1]: set(match[2].strip("_").split("_")) for match in found}


def test_every_promise_has_a_test_that_names_it() -> None:
    assert set().union(*named_tests().values()) >= PROMISES


def test_the_document_names_tests_that_exist_for_every_promise() -> None:
    known = named_tests()
    rows = re.findall(r"^\| (P\d+) \|.*\|(.*)\|$", (PROJECT / "docs" / "engine.md").read_text(), re.MULTILINE)
    assert {promise.lower() for promise, _ in rows} == PROMISES
    for promise, cell in rows:
        tests = re.findall(r"`(test_\w+)`", cell)
        assert tests, promise
        for test in tests:
            assert promise.lower() in known.get(test, set()), f"{promise}: {test}"
