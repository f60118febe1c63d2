"""Scopes that are committed, and two at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import Workspace
from accounts.tenancy import beyond_workspace, tenant_scope
from devices.models import Device
from tests.accounts.asking import ask, owner_name, who_asks
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_connection_is_clean_after_every_way_out() -> None:
    alice = make_workspace()
    with tenant_scope(alice):
        pass
    assert who_asks() == (owner_name(), "")
    with pytest.raises(LookupError), tenant_scope(alice):
        raise LookupError
    assert who_asks() == (owner_name(), "")
    with pytest.raises(DatabaseError), tenant_scope(alice):
        ask("SELECT 1/0")
    assert who_asks() == (owner_name(), "")
    with pytest.raises(DatabaseError), tenant_scope(alice), suppress(DatabaseError):
        ask("SELECT 1/0")  # swallowed, and yet the broken transaction does not end quietly
    assert who_asks() == (owner_name(), "")


def test_hooks_after_the_commit_run_as_the_owner() -> None:
    alice, asked = make_workspace(), list[tuple[str, str]]()
    with tenant_scope(alice):
        transaction.on_commit(lambda: asked.append(who_asks()))
        with tenant_scope(alice):
            transaction.on_commit(lambda: asked.append(who_asks()))
        assert asked == []
    assert asked == [(owner_name(), "")] * 2


def test_two_browsers_at_once_cannot_both_add_the_last_device() -> None:
    alice = make_workspace()
    Workspace.objects.filter(pk=alice.pk).update(device_limit=1)
    refusals: list[str] = []

    def add_second() -> None:
        try:
            with tenant_scope(alice):
                make_device(alice, name="Second")
        except IntegrityError as refusal:
            refusals.append(str(refusal))
        finally:
            connection.close()

    with tenant_scope(alice):
        make_device(alice, name="First")
        browser = threading.Thread(target=add_second)
        browser.start()
        with beyond_workspace():
            assert any(waits_for_a_lock() for _ in patiently()), "the second insert must wait for the first"
    browser.join(timeout=10)
    assert not browser.is_alive()
    assert len(refusals) == 1
    assert "the workspace has its 1 devices" in refusals[0]
    assert [device.name for device in Device.objects.all()] == ["First"]


def waits_for_a_lock() -> bool:
    ask("SELECT pg_stat_clear_snapshot()")  # inside a transaction the view shows what it showed first
    return bool(ask("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"))


def patiently(seconds: float = 10) -> Iterator[None]:
    """Ask again every few milliseconds until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.01)
