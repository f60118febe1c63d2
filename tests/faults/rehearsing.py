"""Running rehearsals and chaos from tests: installations of their own, as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


class Command:
    """A `manage.py` command that was started and answers with one JSON object."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env={**os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(self, timeout: float, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Its result; fails the test with its output when it did not end as allowed."""
        try:
            out, errors = self.process.communicate(timeout=timeout)
        finally:
            self.end()
        assert self.process.returncode in allowed, errors[-3_000:] + out[-3_000:]
        return json.loads(out.splitlines()[-1])

    def end(self) -> None:
        """Its servers and programs end with it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
