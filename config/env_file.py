"""The `.env` file: `NAME=value` lines, read with the standard library because `./run` needs it before anything else."""

from __future__ import annotations

import re
from pathlib import Path

from config.service_urls import BadValue

LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
QUOTED = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""")


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of the file, empty when it isn't there. BadValue names a line that can't be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise BadValue(f"{path.name} can't be read: make it a readable UTF-8 file, or remove it.") from None
    values = {}
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            raise BadValue(f"{path.name} line {number} is not NAME=value: write it so, or start it with #.")
        values[found[1]] = plain_value(found[2])
    return values


def plain_value(text: str) -> str:
    """What stands between the quotes, or before a comment."""
    if quoted := QUOTED.fullmatch(text):
        return quoted[2]
    return re.split(r"\s#", text, maxsplit=1)[0].strip()
