"""Incidents: opened and closed once, however many look."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from monitoring.checkup.history import lately, record, since_when, tidy
from monitoring.checkup.parts import BAD, OK, PARTS, UNKNOWN, WARN, Finding, Look
from monitoring.models import Incident, Kept
from tests.monitoring.test_checkup import beat

START = timezone.now() - timedelta(hours=1)


def seen(seconds: float, **states: str) -> Look:
    findings = [Finding(part, states.get(part, OK), f"{part} is {states.get(part, OK)}.") for part in PARTS]
    return Look(START + timedelta(seconds=seconds), tuple(findings))


def incidents() -> list[tuple[str, str, float, float | None]]:
    def after(at: object) -> float:
        return (at - START).total_seconds()  # type: ignore[operator]

    return [
        (one.part, one.state, after(one.since), after(one.until) if one.until else None)
        for one in Incident.objects.order_by("since", "pk")
    ]


@pytest.mark.django_db
def test_what_is_bad_twice_is_an_incident_since_the_first_time() -> None:
    record(seen(0, clock=BAD))
    assert incidents() == []
    record(seen(5, clock=BAD))
    record(seen(10, clock=BAD))
    assert incidents() == [("clock", BAD, 0, None)]
    record(seen(15))
    assert incidents() == [("clock", BAD, 0, 15)]


@pytest.mark.django_db
def test_a_single_bad_look_and_one_long_ago_are_none() -> None:
    for seconds, state in ((0, BAD), (5, OK), (10, BAD), (500, BAD)):
        record(seen(seconds, redis=state))
    assert incidents() == []


@pytest.mark.django_db
def test_what_gets_worse_is_a_new_incident_and_what_nobody_knows_changes_nothing() -> None:
    for seconds, state in ((0, WARN), (5, WARN), (10, UNKNOWN), (15, BAD), (20, BAD), (25, UNKNOWN)):
        record(seen(seconds, workers=state))
    assert incidents() == [("workers", WARN, 0, 15), ("workers", BAD, 15, None)]


@pytest.mark.django_db
def test_what_comes_back_within_two_minutes_never_ended() -> None:
    for seconds, state in ((0, BAD), (5, BAD), (10, OK), (60, BAD), (65, BAD), (70, OK), (400, BAD), (405, BAD)):
        record(seen(seconds, live=state))
    assert incidents() == [("live", BAD, 0, 70), ("live", BAD, 400, None)]


@pytest.mark.django_db
def test_an_outage_of_the_database_is_written_down_afterwards_once() -> None:
    for _ in range(2):
        record(seen(40), away_since=START)
    record(seen(41), away_since=START + timedelta(seconds=3))
    assert incidents() == [("database", BAD, 0, 40)]


@pytest.mark.django_db
def test_an_older_look_changes_nothing() -> None:
    for seconds, state in ((0, BAD), (5, BAD), (3, OK)):
        record(seen(seconds, disk=state))
    assert incidents() == [("disk", BAD, 0, None)]


@pytest.mark.django_db(transaction=True)
def test_many_who_look_at_once_write_one_incident() -> None:
    def look_twice() -> None:
        for seconds in (0, 5):
            record(seen(seconds, engines=BAD))
        connection.close()

    threads = [threading.Thread(target=look_twice) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert incidents() == [("engines", BAD, 0, None)]


@pytest.mark.django_db
def test_old_incidents_and_programs_are_forgotten_and_open_ones_kept() -> None:
    now = timezone.now()
    for days in (100, 8, 1):
        at = now - timedelta(days=days)
        Incident.objects.create(part="clock", state=BAD, since=at, until=at + timedelta(minutes=1), sentence="x")
    Incident.objects.create(part="disk", state=WARN, since=now - timedelta(days=120), sentence="x")
    beat("worker", 90_000)
    beat("worker", 30)
    assert tidy() == 2
    assert [one.part for one in lately()] == ["clock", "disk"]
    now = timezone.now()
    since = since_when(lately(), seen((now - START).total_seconds(), disk=WARN, redis=BAD))
    assert since == {one.part: one.until or one.since for one in lately()}
    assert since_when(lately(), seen(0, disk=UNKNOWN, clock=BAD)) == {}
    assert Kept.objects.count() == 0
