"""The status page and the line on every page: who sees what, and that they stand whatever is down."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from monitoring.checkup.parts import BAD, OK, PARTS, WARN, Finding, Look
from monitoring.checkup.watch import watch
from monitoring.models import Incident
from tests.factories import make_device, make_host

SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


def found(**states: str) -> Look:
    return Look(timezone.now(), tuple(Finding(part, states.get(part, OK), f"{part} told.") for part in PARTS))


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_strangers_sign_in_first(db: None) -> None:
    answer = Client().get("/status")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")


def test_everybody_signed_in_reads_what_works_and_staff_read_machines_and_figures(
    as_bob: Client, sam: User, sign_in: SignIn, workspace: Workspace
) -> None:
    make_device(workspace, owner=make_host(id="rack-7", heartbeat_at=timezone.now() - timedelta(minutes=1)))
    watch.found = watch.fresh()
    look = Look(
        timezone.now(), (*watch.found.findings[:1], Finding("engines", BAD, "It is gone.", "rack-7: 1 devices"))
    )
    watch._latest = (watch._latest[0], look)  # type: ignore[index]
    plain = text(as_bob.get("/status"))
    assert "It is gone. Messages wait" in plain
    assert "rack-7" not in plain
    assert "PostgreSQL 1" not in plain
    staff = text(sign_in(sam).get("/status"))
    assert "rack-7: 1 devices" in staff
    assert "PostgreSQL 1" in staff


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_the_region_comes_alone_to_htmx(as_bob: Client, headers: dict[str, str]) -> None:
    page = as_bob.get("/status", headers=headers).content.decode()
    assert ("<html" in page) is (not headers)
    assert 'id="status"' in page
    assert 'hx-trigger="every 5s"' in page


def test_a_look_of_staff_is_audited_once_and_not_at_each_poll(sam: User, sign_in: SignIn) -> None:
    client = sign_in(sam)
    client.get("/status")
    client.get("/status", headers=HTMX)
    assert AuditEntry.objects.filter(action="staff.status", actor=sam).count() == 1


def test_incidents_of_a_week_are_listed_newest_first_and_open_ones_say_so(as_bob: Client) -> None:
    now = timezone.now()
    for days, part in ((9, "disk"), (2, "redis"), (1, "clock")):
        at = now - timedelta(days=days)
        Incident.objects.create(
            part=part, state=BAD, since=at, until=at + timedelta(minutes=4), sentence=f"<b>{part}</b> was away."
        )
    Incident.objects.create(part="workers", state=WARN, since=now - timedelta(days=30), sentence="Still lost.")
    Incident.objects.create(part="of another version", state=BAD, since=now, sentence="Unknown.")
    page = as_bob.get("/status")
    assert "&lt;b&gt;clock&lt;/b&gt; was away." in page.content.decode()
    told = text(page)
    assert told.index("Timetable", told.index("The last 7 days")) < told.index("Redis", told.index("The last 7 days"))
    assert "disk was away" not in told.replace("&lt;b&gt;", "").replace("&lt;/b&gt;", "")
    assert "Unknown." not in told
    assert "still" in told
    assert "4 minutes" in told


def test_without_postgresql_everybody_reads_the_words_alone(no_database: None) -> None:
    watch.found = watch.current()
    client = Client()
    client.cookies["sessionid"] = "x" * 32  # nobody can say whose it is
    answer = client.get("/status")
    assert answer.status_code == 503
    told = text(answer)
    assert "The database does not answer." in told
    assert "Nobody can tell while PostgreSQL is away." in told
    assert "The last 7 days" not in told
    partial = client.get("/status", headers=HTMX)
    assert partial.status_code == 200
    assert "<html" not in partial.content.decode()


# ---- The line on every page


def test_pages_carry_no_line_while_everything_works(as_bob: Client) -> None:
    for look in (None, found(), found(engines=WARN), found(disk=BAD, ledger=BAD)):
        watch.found = look
        page = as_bob.get("/devices/").content.decode()
        assert 'id="health-banner"' in page
        assert "See the status" not in page


def test_pages_say_what_does_not_work_the_gravest_first(as_bob: Client) -> None:
    watch.found = found(redis=BAD, live=BAD, engines=BAD, clock=BAD)
    for path in ("/devices/", "/dashboard", "/settings/"):
        told = text(as_bob.get(path))
        assert "engines told. Messages wait" in told
        assert "And 2 more: see the status" in told  # live is away with redis


def test_the_line_asks_again_without_a_query_or_a_sign_in_and_is_silent_while_nothing_changed(
    as_bob: Client, django_assert_num_queries: Any
) -> None:
    watch.found = found(redis=BAD)
    for client in (as_bob, Client()):
        with django_assert_num_queries(0):
            answer = client.get("/status/banner?said=well")
            assert answer.status_code == 200
            assert "said=redis" in answer.content.decode()
            assert client.get("/status/banner?said=redis").status_code == 204
            assert client.get("/status/banner?said=%00%3Cscript%3E").status_code == 200
    watch.found = found()
    assert as_bob.get("/status/banner?said=redis").status_code == 200
    assert as_bob.get("/status/banner?said=well").status_code == 204
    assert as_bob.get("/devices/").status_code == 200  # still signed in


@pytest.mark.parametrize("path", ["/status", "/status/banner", "/metrics", "/api/workers/status"])
def test_they_are_only_looked_at(as_bob: Client, path: str) -> None:
    assert as_bob.post(path).status_code == 405
