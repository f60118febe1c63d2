"""REDIS_URL and DATABASE_URL: what is taken, what is refused, and in which words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.masking import mask_url
from config.service_urls import BadValue, check_database_url, check_redis_url, redis_url

ROOT = Path(__file__).resolve().parents[2]
GOOD_REDIS = [
    "redis://localhost",
    "redis://localhost:6379/0",
    "redis://:not-a-real-one@redis.internal:6379",
    "redis://default:not%40real@10.0.0.7:6380/15",
    "rediss://user:fake@cache.example.com:6379/0?ssl_cert_reqs=none",
    "redis://[::1]:6379/2",
    "unix:///run/redis.sock",
    "unix://:fake@/run/redis.sock?db=3",
]
BAD_REDIS = [
    "${{Redis.REDIS_URL}}",
    "${REDIS_URL}",
    "$REDIS_URL",
    "{{ redis_url }}",
    "redis://default:${{PW}}@h",
    "redis://$(hostname):6379",
    "<your-url>",
    "redis://<host>:6379",
    '"redis://localhost:6379"',
    "'redis://localhost:6379'",
    "redis://localhost:6379'",
    " ",
    "   ",
    " redis://localhost:6379",
    "redis://localhost:6379 ",
    "redis://local host:6379",
    "redis://localhost:6379\n",
    "redis://localhost\t:6379",
    "http://localhost:6379",
    "https://cache.example.com",
    "postgres://user:fake@localhost/flotilla",
    "REDIS://localhost",
    "localhost:6379",
    "localhost",
    "/abc",
    "redis:/localhost",
    "redis:localhost",
    "redis://",
    "redis:///",
    "redis:///0",
    "redis://:6379",
    "rediss://:fake@",
    "redis://user:fake@:6379/0",
    "redis://localhost:port",
    "redis://localhost:",
    "redis://localhost:0",
    "redis://localhost:99999",
    "redis://localhost:-1",
    "redis://localhost:6379:6379",
    "redis://localhost/abc",
    "redis://localhost/0/1",
    "redis://localhost?db=first",
    "redis://höst:6379",
    "redis://host..example:6379",
    "redis://-host:6379",
    "redis://a,b:6379",
    "redis://[::1",
    "redis://[fe80]:6379",
    "redis://user:fa@ke@localhost",
    "redis://user:fa/ke@localhost",
    "redis://user:fa#ke@localhost",
    "redis://user:fa%ke@localhost",
    "redis://user:fa\\ke@localhost",
    "redis://redis://localhost",
    "unix://run/redis.sock",
    "unix://",
    "unix:///",
]
GOOD_DATABASE = [
    "postgresql://flotilla@/flotilla?host=/run/flotilla",
    "postgresql:///flotilla?host=/run/flotilla&user=me",
    "postgres://user:fake@localhost:5432/flotilla",
    "postgresql://user:fa%2Fke@db.internal/flotilla?sslmode=require",
    "postgresql://[::1]/flotilla",
]
BAD_DATABASE = [
    "${{Postgres.DATABASE_URL}}",
    "postgres://postgres:${{PGPASSWORD}}@h:5432/railway",
    "<your-url>",
    '"postgres://user:fake@localhost/flotilla"',
    " ",
    "postgres://user:fake@localhost/flo tilla",
    "postgres://user:fake@localhost/flotilla\n",
    "http://localhost/flotilla",
    "redis://localhost:6379/0",
    "mysql://localhost/flotilla",
    "sqlite:///db.sqlite3",
    "/abc",
    "localhost",
    "postgres://",
    "postgres:///",
    "postgres:///flotilla",
    "postgres://:fake@/flotilla",
    "postgres://localhost",
    "postgres://localhost/",
    "postgres://localhost/a/b",
    "postgres://localhost:0/flotilla",
    "postgres://localhost:99999/flotilla",
    "postgres://localhost:port/flotilla",
    "postgres://a,b/flotilla",
    "postgres://höst/flotilla",
    "postgresql:///flotilla?host=run",
    "postgres://user:fa@ke@localhost/flotilla",
]


@pytest.mark.parametrize("url", GOOD_REDIS)
def test_a_usable_redis_url_is_taken_as_it_is(url: str) -> None:
    assert check_redis_url(url) == url


@pytest.mark.parametrize("url", BAD_REDIS)
def test_a_malformed_redis_url_is_refused_in_one_line_with_the_remedy(url: str) -> None:
    with pytest.raises(BadValue) as refusal:
        check_redis_url(url)
    line = str(refusal.value)
    assert line.startswith("REDIS_URL ")
    assert "redis://:password@host:6379/0" in line
    assert "\n" not in line
    assert "fake" not in line


@pytest.mark.parametrize("url", GOOD_DATABASE)
def test_a_usable_database_url_is_taken_as_it_is(url: str) -> None:
    assert check_database_url(url) == url


@pytest.mark.parametrize("url", BAD_DATABASE)
def test_a_malformed_database_url_is_refused_in_one_line_with_the_remedy(url: str) -> None:
    with pytest.raises(BadValue) as refusal:
        check_database_url(url)
    line = str(refusal.value)
    assert line.startswith("DATABASE_URL ")
    assert "postgresql://user:password@host:5432/name" in line
    assert "\n" not in line
    assert "fake" not in line


def test_empty_means_unset() -> None:
    assert check_redis_url("") == check_database_url("") == redis_url({"REDIS_URL": "", "REDISHOST": ""}) == ""


def test_the_parts_make_the_url_when_it_is_unset() -> None:
    parts = {"REDIS_URL": "", "REDISHOST": "cache.internal", "REDISPORT": "6380", "REDIS_PASSWORD": "a/b@c"}
    assert redis_url(parts) == "redis://:a%2Fb%40c@cache.internal:6380/0"
    assert redis_url({"REDISHOST": "::1"}) == "redis://[::1]:6379/0"
    assert redis_url({"REDIS_URL": "redis://other", "REDISHOST": "cache.internal"}) == "redis://other"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"REDISHOST": "${{Redis.HOST}}"}, "REDISHOST"),
        ({"REDISHOST": "redis://cache"}, "REDISHOST"),
        ({"REDISHOST": "cache", "REDISPORT": "none"}, "REDISPORT"),
        ({"REDISHOST": "cache", "REDISPORT": "0"}, "REDISPORT"),
        ({"REDISHOST": "cache", "REDIS_PASSWORD": "${{PW}}"}, "REDIS_PASSWORD"),
    ],
)
def test_a_malformed_part_is_refused_by_its_own_name(parts: dict[str, str], name: str) -> None:
    with pytest.raises(BadValue, match=f"^{name} "):
        redis_url(parts)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:fake@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:fa@ke@host", "redis://user:***@host"),
        ("unix://:fake@/run/redis.sock", "unix://:***@/run/redis.sock"),
        ("postgresql://flotilla@/flotilla?host=/run", "postgresql://flotilla@/flotilla?host=/run"),
        (
            "postgresql://h/db?user=me&password=fake&sslmode=require",
            "postgresql://h/db?user=me&password=***&sslmode=require",
        ),
        ("default:fake@host:6379", "default:***@host:6379"),
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("${{Redis.REDIS_URL}}", "${{Redis.REDIS_URL}}"),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def settings_read_with(**environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import config.settings"]
    given = {**os.environ, "ENV_FILE": "", "SECRET_KEY": "x", **environ}
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"REDIS_URL": "${{Redis.REDIS_URL}}"}, "REDIS_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SIGNUP": "sometimes"}, "SIGNUP"),
        ({"DEBUG": "perhaps"}, "DEBUG"),
        ({"PORT": "99999"}, "PORT"),
        ({"PORT": "http"}, "PORT"),
    ],
)
def test_a_process_started_singly_ends_with_exit_code_2_and_one_line(environ: dict[str, str], name: str) -> None:
    done = settings_read_with(**environ)
    assert done.returncode == 2
    assert done.stderr.startswith(name)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def run_with(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "run"], env={**os.environ, "ENV_FILE": "", **environ}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"REDIS_URL": "redis://default:${{PW}}@h"}, "REDIS_URL"),
        ({"REDIS_URL": "", "DATABASE_URL": "postgres://localhost"}, "DATABASE_URL"),
        ({"REDIS_URL": "", "DATABASE_URL": "", "EMBEDDED": "0"}, "REDIS_URL"),
        ({"DATABASE_URL": "", "EMBEDDED": "0"}, "DATABASE_URL"),
    ],
)
def test_run_refuses_before_it_makes_anything(environ: dict[str, str], name: str, tmp_path: Path) -> None:
    done = run_with(**environ, VAR_DIR=str(tmp_path / "var"))
    assert done.returncode == 2
    assert done.stderr.startswith(name)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "var").exists()
