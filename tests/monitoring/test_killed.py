"""Real programs, killed: the status turns within its promise of 30 s, here with beats of half a second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import django_rq
import pytest
from django.db import connection

from config.embedded import wait_until
from monitoring.checkup import database
from monitoring.checkup.look import look
from monitoring.checkup.parts import BAD, OK

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "HEALTH_EVERY_S": "0.5",
    "LEASE_TTL": "6",
    "LEASE_RENEW": "1",
    "LEASE_STOP_AFTER": "4",
    "LEASE_EXIT_AFTER": "5",
}
PROGRAMS = {
    "workers": ["work", "clock", "planning", "webhooks", "imports", "exports", "--with-scheduler"],
    "clock": ["run_clock"],
    "engines": ["run_engine"],
}
CHECKS = {"workers": database.workers, "clock": database.clock, "engines": database.engines}
WITHIN_S = 6  # 30 s with beats of 5 s and leases renewed every 10 s

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, settings: Any) -> Iterator[Start]:
    settings.HEALTH_EVERY_S = float(QUICK["HEALTH_EVERY_S"])
    settings.LEASE_TIMES = settings.LEASE_TIMES | {"renew": float(QUICK["LEASE_RENEW"])}
    django_rq.get_connection("clock").flushdb()
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    environ = {**os.environ, **QUICK, "DATABASE_URL": urlunsplit(url), "SESSIONS_DIR": str(tmp_path / "sessions")}
    with ExitStack() as stack:

        def started(part: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / part).open("wb"))
            command = [sys.executable, "manage.py", *PROGRAMS[part]]
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield started


def reaches(part: str, state: str, within: float) -> bool:
    """Asked of the one part, four times a second: a whole look each time would keep the programs from starting."""

    def reached() -> bool:
        time.sleep(0.25)
        return CHECKS[part]().state == state

    return wait_until(reached, within)


def test_the_status_turns_when_a_program_is_killed(start: Start) -> None:
    processes = {part: start(part) for part in PROGRAMS}
    for part in PROGRAMS:
        assert reaches(part, OK, 60), part
    for process in processes.values():
        process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    for part in PROGRAMS:
        assert reaches(part, BAD, WITHIN_S - (time.monotonic() - killed)), part
    assert {look().of(part).state for part in PROGRAMS} == {BAD}
