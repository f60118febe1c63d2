"""The watchdog: nothing starts on an old lease, and a lease that stays old ends the process."""

from __future__ import annotations

import threading

import pytest

from devices.hosting import watchdog
from devices.hosting.leases import LeaseTimes
from devices.hosting.watchdog import Watchdog


def test_nothing_is_started_after_a_renewal_became_too_old() -> None:
    dog = Watchdog(LeaseTimes(stop_after=20))
    began = watchdog.now()
    dog.renewed(began - 19)
    assert dog.may_start()
    dog._renewed = began - 20.5
    assert not dog.may_start()
    dog.renewed(began)
    assert dog.may_start()


def test_an_older_renewal_that_ends_late_does_not_set_the_clock_back() -> None:
    dog = Watchdog(LeaseTimes())
    began = watchdog.now()
    dog.renewed(began)
    dog.renewed(began - 60)
    assert dog.may_start()


def test_the_process_ends_when_the_lease_cannot_be_renewed() -> None:
    ended = threading.Event()
    dog = Watchdog(LeaseTimes(stop_after=0.1, exit_after=0.2), end=ended.set)
    dog.start()
    assert ended.wait(5)


def test_a_renewed_lease_keeps_the_process_alive() -> None:
    ended = threading.Event()
    dog = Watchdog(LeaseTimes(exit_after=30), end=ended.set)
    dog.start()
    assert not ended.wait(0.6)
    dog.stop()


def test_p6_a_renewal_that_began_too_late_brings_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    dog = Watchdog(LeaseTimes(stop_after=4, exit_after=5))
    woke = watchdog.now() + 60
    monkeypatch.setattr(watchdog, "now", lambda: woke)
    dog.renewed(woke)
    assert dog.is_overdue()
    assert not dog.may_start()
