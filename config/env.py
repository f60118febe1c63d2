"""Reading the environment: typed values, and one plain line with exit code 2 for a bad one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from environs import Env, EnvError

from config import service_urls
from config.env_file import read_env_file
from config.service_urls import BadValue

BASE_DIR = Path(__file__).resolve().parent.parent
BAD_ENVIRONMENT = 2
START_REMEDY = "start everything with ./run, or set it"


def stop(line: str) -> NoReturn:
    """End the process the way every process ends on bad configuration."""
    sys.stderr.write(f"{line}\n")
    raise SystemExit(BAD_ENVIRONMENT)


def load_env_file() -> None:
    """Add what ENV_FILE (`.env`) says to the environment; what is set there already wins."""
    name = os.environ.get("ENV_FILE", ".env")
    if not name:
        return
    try:
        for key, value in read_env_file(BASE_DIR / name).items():
            os.environ.setdefault(key, value)
    except BadValue as problem:
        stop(str(problem))


def read(kind: str, name: str, default: Any, **options: Any) -> Any:
    """A value of environs' `kind`; an empty variable counts as unset."""
    if not os.environ.get(name):
        return default
    try:
        return getattr(Env(), kind)(name, **options)
    except (EnvError, ValueError):
        stop(f"{name} has a value that is no {kind}: correct it, or leave it empty for the default.")


def text(name: str, default: str = "") -> str:
    return str(read("str", name, default))


def flag(name: str, default: bool = False) -> bool:
    return bool(read("bool", name, default))


def number(name: str, default: int, least: int = 0, most: int = 2**31) -> int:
    value = int(read("int", name, default))
    if not least <= value <= most:
        stop(f"{name} must be a number from {least} to {most}.")
    return value


def real(name: str, default: float, least: float = 0.05, most: float = 86_400) -> float:
    value = float(read("float", name, default))
    if not least <= value <= most:
        stop(f"{name} must be a number of seconds from {least} to {most}.")
    return value


def words(name: str, default: list[str] | None = None) -> list[str]:
    return [word.strip() for word in read("list", name, default or []) if word.strip()]


def choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = text(name, default)
    if value not in choices:
        stop(f"{name} must be one of {', '.join(choices)}.")
    return value


def required(name: str) -> str:
    return text(name) or stop(f"{name} is not set: {START_REMEDY}.")


def redis_url() -> str:
    return _service_url("REDIS_URL", service_urls.redis_url)


def database_url() -> str:
    return _service_url("DATABASE_URL", service_urls.database_url)


def _service_url(name: str, find: Any) -> str:
    try:
        return find(os.environ) or stop(f"{name} is not set: {START_REMEDY}.")
    except BadValue as problem:
        stop(str(problem))


load_env_file()
