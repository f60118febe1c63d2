"""How much memory a test's own process took at its peak."""

from __future__ import annotations

import re
from pathlib import Path


def peak_mb() -> int:
    """This program's peak resident memory. Not ru_maxrss, which begins with the peak of whoever started the process."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024
