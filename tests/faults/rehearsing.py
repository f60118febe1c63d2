"""Running a rehearsal from a test: an installation of its own, as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def rehearse(*options: str, timeout: float = 150, **environment: str) -> dict[str, Any]:
    """The command's result; fails the test with its output when it did not end well."""
    run = subprocess.run(
        [sys.executable, "manage.py", "rehearse", "--json", *options],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert run.returncode == 0, run.stderr[-3_000:] + run.stdout[-1_000:]
    return json.loads(run.stdout.splitlines()[-1])


def assert_accounted(result: dict[str, Any]) -> None:
    """P2, P4 and P17: conserved, no duplicate, and sent only what the network's ledger has."""
    assert result["audit"]["drift"] == 0
    assert result["audit"]["violations"] == []
    assert result["audit"]["open_attempts"] == 0
    assert result["ledger"]["duplicates"] == 0
    assert result["ledger"]["unknown_to_database"] == 0
    assert result["ledger"]["sent_but_absent"] == 0
