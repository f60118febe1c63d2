"""REDIS_URL and DATABASE_URL: what a usable one looks like.

Standard library only: `./run` checks both before anything is installed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

REDIS_SCHEMES = ("redis", "rediss", "unix")
DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_EXAMPLE = "redis://:password@host:6379/0"
DATABASE_EXAMPLE = "postgresql://user:password@host:5432/name"
REDIS_PORT = "6379"

PLACEHOLDER = re.compile(r"\$\{|\{\{|\}\}|\$\(|\$[A-Za-z_]|%\(|[<>]")
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BadValue(ValueError):
    """A variable holds something unusable; the text is one line that names it and the remedy, never the value."""


def redis_url(environ: Mapping[str, str]) -> str:
    """The Redis address of this environment; empty when none is set. REDISHOST and its kin stand in for REDIS_URL."""
    if url := check_redis_url(environ.get("REDIS_URL", "")):
        return url
    host = environ.get("REDISHOST", "")
    if not host:
        return ""
    if problem := _problem_with_text(host) or _problem_with_host(host):
        raise _bad("REDISHOST", problem, "write the name or address of the server, or leave it empty")
    port = environ.get("REDISPORT", "") or REDIS_PORT
    if not _is_port(port):
        raise _bad("REDISPORT", "is not a port number", "write a number from 1 to 65535, or leave it empty")
    password = environ.get("REDIS_PASSWORD", "")
    if PLACEHOLDER.search(password):
        raise _bad("REDIS_PASSWORD", "still holds a placeholder", "write the password itself, or leave it empty")
    secret = f":{quote(password, safe='')}@" if password else ""
    return check_redis_url(f"redis://{secret}{f'[{host}]' if ':' in host else host}:{port}/0")


def database_url(environ: Mapping[str, str]) -> str:
    return check_database_url(environ.get("DATABASE_URL", ""))


def check_redis_url(url: str) -> str:
    """The URL as it came (empty means unset), or BadValue."""
    return _checked("REDIS_URL", url, REDIS_SCHEMES, _problem_with_redis, REDIS_EXAMPLE)


def check_database_url(url: str) -> str:
    """The URL as it came (empty means unset), or BadValue."""
    return _checked("DATABASE_URL", url, DATABASE_SCHEMES, _problem_with_database, DATABASE_EXAMPLE)


def _checked(
    name: str, url: str, schemes: tuple[str, ...], problem_with: Callable[[SplitResult], str], example: str
) -> str:
    if not url:
        return ""
    problem = _problem_with_text(url)
    if not problem and not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        problem = f"does not start with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if not problem:
        try:
            problem = problem_with(urlsplit(url))
        except ValueError:
            problem = "can't be read as an address"
    if problem:
        raise _bad(name, problem, f"write it like {example}, or leave it empty for the embedded server")
    return url


def _bad(name: str, problem: str, remedy: str) -> BadValue:
    return BadValue(f"{name} {problem}: {remedy}.")


def _problem_with_text(value: str) -> str:
    """What makes the value unusable whatever it is meant to be; empty when nothing does."""
    if PLACEHOLDER.search(value):
        return "still holds a placeholder"
    if any(quote_mark in value for quote_mark in "\"'`"):
        return "has a quotation mark in it"
    if any(character.isspace() for character in value):
        return "has a blank or a line break in it"
    if not value.isascii() or not value.isprintable():
        return "has a character in it that no address has (write it as %XX)"
    if "\\" in value or BROKEN_ESCAPE.search(value):
        return "has a \\ or a lone % in it (write them as %5C and %25)"
    if "#" in value:
        return "has a # in it (write it as %23)"
    return ""


def _problem_with_redis(url: SplitResult) -> str:
    options = dict(parse_qsl(url.query))
    if not options.get("db", "0").isdigit():
        return "names a database that is not a number"
    if url.scheme == "unix":
        place = url.netloc.rpartition("@")[2]
        return "names no socket (unix:///path)" if place or len(url.path) < 2 else ""
    if problem := _problem_with_server(url):
        return problem
    database = url.path.removeprefix("/")
    return "names a database that is not a number" if database and not database.isdigit() else ""


def _problem_with_database(url: SplitResult) -> str:
    options = dict(parse_qsl(url.query))
    place = url.netloc.rpartition("@")[2]
    if place or not options.get("host"):
        if problem := _problem_with_server(url):
            return problem
    elif not options["host"].startswith("/"):
        return "names no socket folder (?host=/folder)"
    if not re.fullmatch(r"/[^/]+", url.path):
        return "names no database"
    return ""


def _problem_with_server(url: SplitResult) -> str:
    account, _, place = url.netloc.rpartition("@")
    if "@" in account:
        return "has an @ in its password (write it as %40)"
    if place.endswith(":"):
        return "names no port after the colon"
    try:
        port = url.port
    except ValueError:
        return "has a bad port (or a / in its password: write it as %2F)"
    if port == 0:
        return "has a bad port"
    if not url.hostname:
        return "names no host"
    return _problem_with_host(url.hostname)


def _problem_with_host(host: str) -> str:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return "names a host that can't exist"
    elif not HOST_NAME.fullmatch(host):
        return "names a host that can't exist"
    return ""


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535
