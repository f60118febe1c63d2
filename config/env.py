"""Reading the environment: typed values, and one plain line with exit code 2 for a bad one."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from environs import Env, EnvError

BAD_ENVIRONMENT = 2


def stop(line: str) -> NoReturn:
    """End the process the way every process ends on bad configuration."""
    sys.stderr.write(f"{line}\n")
    raise SystemExit(BAD_ENVIRONMENT)


def read(kind: str, name: str, default: Any, **options: Any) -> Any:
    """A value of environs' `kind`; an empty variable counts as unset."""
    if not os.environ.get(name, "").strip():
        return default
    try:
        return getattr(Env(), kind)(name, **options)
    except EnvError as error:
        stop(f"{name} has a value that can't be used: {error}")


def text(name: str, default: str = "") -> str:
    return str(read("str", name, default))


def flag(name: str, default: bool = False) -> bool:
    return bool(read("bool", name, default))


def number(name: str, default: int) -> int:
    return int(read("int", name, default))


def words(name: str, default: list[str] | None = None) -> list[str]:
    return [word.strip() for word in read("list", name, default or []) if word.strip()]


def choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = text(name, default)
    if value not in choices:
        stop(f"{name} must be one of {', '.join(choices)}.")
    return value


def required(name: str, remedy: str) -> str:
    return text(name) or stop(f"{name} is not set: {remedy}.")
