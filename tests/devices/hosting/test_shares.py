"""Shares against a real Postgres: even, and what leaves a host is neither busy nor claimed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from django.db.models import Count
from django.utils import timezone

from devices.hosting import leases, shares
from devices.hosting.leases import Lease
from devices.hosting.shares import Share
from devices.models import Device, Host
from tests.devices.hosting.test_leases import SIMULATOR, TIMES, expire, make_devices, nothing_to_abandon, take

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction


def give(lease: Lease, most: int, driver: str = "simulator") -> list[int]:
    """As a host does, but for closing their sessions between the two."""
    [share] = [share for share in shares.fair_shares(lease) if share.driver == driver]
    return shares.release(lease, shares.rest(lease, share, most))


def test_hosts_share_evenly() -> None:
    make_devices(5)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    take(first)
    Device.objects.update(state="online")
    assert shares.fair_shares(first) == [Share("simulator", 5, 3)]
    assert len(give(first, 2)) == 2
    assert len(take(second)) == 2
    assert shares.fair_shares(second) == [Share("simulator", 2, 2)]


def balance(*hosts: Lease, drivers: Sequence[str] = SIMULATOR) -> int:
    """What the hosts do every two seconds, in turn, until nothing moves any more; returns how many devices moved."""
    moved = 0
    for _ in range(50):
        steps = 0
        for host in hosts:
            for share in shares.fair_shares(host):
                missing = share.fair - share.mine
                if missing < 0:
                    steps += len(give(host, min(-missing, 2), share.driver))
                elif missing:
                    steps += len(leases.take(host, [share.driver], nothing_to_abandon, room=missing))
        if not steps:
            return moved
        moved += steps
    raise AssertionError("devices go back and forth")


def held(driver: str = "simulator") -> dict[str, int]:
    found = Device.objects.filter(owner__isnull=False, driver=driver)
    return dict(found.values_list("owner").annotate(count=Count("pk")).order_by("owner"))


def test_three_hosts_share_within_one_when_one_leaves_and_one_joins() -> None:
    make_devices(15)
    make_devices(8)
    a, b, c = (leases.begin(name, SIMULATOR, TIMES) for name in "abc")
    balance(a, b, c)
    assert held() == {"a": 8, "b": 8, "c": 7}
    expire(b)
    balance(a, c)
    assert held() == {"a": 12, "c": 11}
    d = leases.begin("d", SIMULATOR, TIMES)
    # Seven leave their host once, and come to rest at the next: none goes back and forth.
    assert balance(a, c, d) == 2 * 7
    assert held() == {"a": 8, "c": 8, "d": 7}
    assert balance(a, c, d) == 0


def test_each_drivers_devices_are_shared_among_the_hosts_that_can_start_it() -> None:
    make_devices(6)
    make_devices(5, driver="whatsapp")
    both = ["simulator", "whatsapp"]
    only, first, second = (
        leases.begin("a", SIMULATOR, TIMES),
        leases.begin("b", both, TIMES),
        leases.begin("c", both, TIMES),
    )
    balance(only, first, second)
    assert held() == {"a": 2, "b": 2, "c": 2}
    assert held("whatsapp") == {"b": 3, "c": 2}
    assert shares.fair_shares(only) == [Share("simulator", 2, 2)]


def test_a_host_that_stopped_for_a_restart_is_nobodys_surplus() -> None:
    make_devices(9)
    a, b, c = (leases.begin(name, SIMULATOR, TIMES) for name in "abc")
    balance(a, b, c)
    leases.lay_down(c, TIMES)
    assert balance(a, b) == 0
    again = leases.begin("c", SIMULATOR, TIMES)
    assert len(take(again, own=True)) == 3
    assert balance(a, b, again) == 0


def test_a_banned_device_is_handed_over_banned_and_an_unlinked_one_stays() -> None:
    [banned] = make_devices(1, state="banned", banned_until=timezone.now() + timedelta(hours=1))
    host, other = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    [unlinked] = make_devices(1, linked=False, state="new", owner_id="a")
    take(host)
    assert give(host, 5) == [banned.pk]
    [taken] = take(other)
    assert (taken.id, taken.state) == (banned.pk, "banned")
    unlinked.refresh_from_db()
    assert unlinked.owner_id == "a"


def test_a_device_that_was_opened_elsewhere_is_not_moved() -> None:
    make_devices(1)
    host = leases.begin("a", SIMULATOR, TIMES)
    take(host)
    Device.objects.update(state="replaced")
    assert give(host, 1) == []


def test_p6_an_older_incarnation_gives_nothing_of_its_successors_away() -> None:
    make_devices(3)
    old = leases.begin("a", SIMULATOR, TIMES)
    take(old)
    leases.begin("a", SIMULATOR, TIMES)
    [stale] = [Share("simulator", 3, 0)]
    assert shares.rest(old, stale, 3) == []
    assert shares.release(old, list(Device.objects.values_list("pk", flat=True))) == []


def test_a_busy_device_is_not_handed_over() -> None:
    make_devices(2)
    lease = leases.begin("a", SIMULATOR, TIMES)
    take(lease)
    Device.objects.update(state="online", open_message=1)
    assert give(lease, 2) == []


def test_nothing_is_claimed_for_a_resting_device_and_it_stays_here_until_it_is_released() -> None:
    [device] = make_devices(1)
    lease = leases.begin("a", SIMULATOR, TIMES)
    take(lease)
    Device.objects.update(state="online")
    assert shares.rest(lease, Share("simulator", 1, 0), 1) == [device.pk]
    device.refresh_from_db()
    assert (device.state, device.owner_id, device.epoch) == ("connecting", "a", 1)
    assert shares.release(lease, [device.pk]) == [device.pk]
    device.refresh_from_db()
    assert (device.state, device.owner_id, device.epoch) == ("connecting", None, 2)


def test_a_resting_device_of_which_somebody_asks_something_stays() -> None:
    [device] = make_devices(1)
    lease = leases.begin("a", SIMULATOR, TIMES)
    take(lease)
    Device.objects.update(state="online")
    shares.rest(lease, Share("simulator", 1, 0), 1)
    Device.objects.update(request="reconnect")
    assert shares.release(lease, [device.pk]) == []


def test_a_retiring_host_is_to_have_nothing_and_gives_also_what_nobody_may_move_otherwise() -> None:
    devices = make_devices(4)
    first = leases.begin("a", SIMULATOR, TIMES)
    take(first)
    Device.objects.filter(pk=devices[0].pk).update(state="replaced")
    second = leases.begin("b", SIMULATOR, TIMES)
    Host.objects.filter(pk="a").update(retiring=True)
    assert shares.fair_shares(first) == [Share("simulator", 4, 0, retiring=True)]
    assert shares.fair_shares(second) == [Share("simulator", 0, 4)]
    assert set(give(first, 10)) == {device.pk for device in devices}
    assert shares.fair_shares(first) == [Share("simulator", 0, 0, retiring=True)]
    assert len(take(second)) == 4
