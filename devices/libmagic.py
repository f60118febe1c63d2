"""libmagic, which tells what a file is by its content: the system's, else the one of its wheel, else None."""

from __future__ import annotations

import importlib
from typing import Any


def _load() -> Any:
    for wheel in ("", "pylibmagic"):
        try:
            if wheel:
                importlib.import_module(wheel)  # puts its libmagic where the next import finds it
            return importlib.import_module("magic")
        except ImportError:
            continue
    return None


magic = _load()
