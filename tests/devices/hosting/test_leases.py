"""Leases against a real Postgres: one owner per device, fenced by epochs, judged by the database's clock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Count
from django.utils import timezone

from devices.hosting import leases
from devices.hosting.leases import HostId, HostIdTaken, Lease, LeaseTimes, Share
from devices.hosting.states import Report, record
from devices.models import Device, DeviceEvent, Host
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction

TIMES = LeaseTimes()
SIMULATOR = ["simulator"]


def nothing_to_abandon(cursor: CursorWrapper, devices: Sequence[int]) -> None:
    pass


def take(lease: Lease, room: int = 100, own: bool = False) -> list[leases.OwnedDevice]:
    return leases.take(lease, SIMULATOR, nothing_to_abandon, room=room, own=own)


def expire(lease: Lease) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_host SET lease_until = now() - interval '1 s' WHERE id = %s", [lease.host])


def make_devices(count: int, **fields: Any) -> list[Device]:
    workspace = make_workspace()
    return [make_device(workspace, **fields) for _ in range(count)]


def test_a_host_takes_what_nobody_owns_and_raises_the_epoch() -> None:
    [device] = make_devices(1, epoch=7)
    lease = leases.begin("a", SIMULATOR, TIMES)
    [taken] = take(lease)
    assert (taken.id, taken.epoch, taken.state) == (device.pk, 8, "connecting")
    assert take(lease) == []


def test_p6_a_living_hosts_devices_are_left_alone_and_a_dead_ones_are_taken() -> None:
    make_devices(2)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    assert len(take(first)) == 2
    assert take(second) == []
    expire(first)
    assert {device.epoch for device in take(second)} == {2}
    assert set(Device.objects.values_list("owner_id", flat=True)) == {"b"}


def test_p6_two_hosts_that_take_at_once_share_without_overlap() -> None:
    make_devices(15)
    names, rounds = ("a", "b"), 100
    taken: dict[str, list[set[int]]] = {name: [] for name in names}
    barrier = threading.Barrier(2)

    def free_all() -> None:
        Device.objects.update(owner=None)

    def work(name: str) -> None:
        lease = leases.begin(name, SIMULATOR, TIMES)
        for _ in range(rounds):
            if barrier.wait() == 0:
                free_all()
            barrier.wait()
            taken[name].append({device.id for device in take(lease)})
        connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, second in zip(*taken.values(), strict=True):
        assert len(first | second) == 15
        assert not first & second


def test_a_new_incarnation_takes_its_predecessors_devices_at_once() -> None:
    make_devices(2)
    old = leases.begin("a", SIMULATOR, TIMES)
    take(old)
    new = leases.begin("a", SIMULATOR, TIMES)
    assert new.incarnation == old.incarnation + 1
    assert take(new) == []
    assert len(take(new, own=True)) == 2
    assert not leases.renew(old, TIMES)
    assert leases.renew(new, TIMES)


def test_p6_an_older_incarnation_is_told_of_no_devices() -> None:
    make_devices(1, request="reconnect", state="banned", banned_until=timezone.now())
    old = leases.begin("a", SIMULATOR, TIMES)
    take(old)
    assert (len(leases.assigned(old)), len(leases.requested(old))) == (1, 1)
    new = leases.begin("a", SIMULATOR, TIMES)
    assert leases.assigned(old) == leases.requested(old) == leases.ban_over(old) == []
    assert len(leases.ban_over(new)) == 1


def test_an_open_attempt_is_taken_over_even_when_its_device_was_unlinked_meanwhile() -> None:
    make_devices(1, linked=False, state="unlinked", open_message=1)
    lease = leases.begin("a", SIMULATOR, TIMES)
    [taken] = take(lease)
    assert (taken.state, taken.phone) == ("unlinked", "")


def test_an_expired_host_takes_nothing() -> None:
    make_devices(1)
    lease = leases.begin("a", SIMULATOR, TIMES)
    expire(lease)
    assert take(lease) == []


def test_a_host_that_stopped_in_order_keeps_its_claim_for_a_while() -> None:
    make_devices(1)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    take(first)
    leases.lay_down(first, TIMES)
    assert take(second) == []
    assert list(Host.objects.alive().values_list("id", flat=True).order_by("id")) == ["a", "b"]
    assert list(Host.objects.taking_devices("simulator").values_list("id", flat=True)) == ["b"]


def test_devices_of_other_drivers_and_unlinked_ones_are_left_alone() -> None:
    make_devices(1, driver="whatsapp")
    make_devices(1, linked=False)
    make_devices(1, state="unlinked", phone=None)
    assert take(leases.begin("a", SIMULATOR, TIMES)) == []


def test_a_device_that_waits_for_pairing_is_taken() -> None:
    make_devices(1, linked=False, request="pair", state="pairing")
    [taken] = take(leases.begin("a", SIMULATOR, TIMES))
    assert (taken.request, taken.state) == ("pair", "pairing")


def test_hosts_share_evenly() -> None:
    make_devices(5)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    take(first)
    Device.objects.update(state="online")
    assert leases.fair_shares(first) == [Share("simulator", 5, 3)]
    assert len(leases.release_surplus(first, "simulator", 2)) == 2
    assert len(take(second)) == 2
    assert leases.fair_shares(second) == [Share("simulator", 2, 2)]


def balance(*hosts: Lease, drivers: Sequence[str] = SIMULATOR) -> int:
    """What the hosts do every two seconds, in turn, until nothing moves any more; returns how many devices moved."""
    moved = 0
    for _ in range(50):
        steps = 0
        for host in hosts:
            for share in leases.fair_shares(host):
                missing = share.fair - share.mine
                if missing < 0:
                    steps += len(leases.release_surplus(host, share.driver, min(-missing, 2)))
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
    assert leases.fair_shares(only) == [Share("simulator", 2, 2)]


def test_a_host_that_stopped_for_a_restart_is_nobodys_surplus() -> None:
    make_devices(9)
    a, b, c = (leases.begin(name, SIMULATOR, TIMES) for name in "abc")
    balance(a, b, c)
    leases.lay_down(c, TIMES)
    assert balance(a, b) == 0
    again = leases.begin("c", SIMULATOR, TIMES)
    assert len(take(again, own=True)) == 3
    assert balance(a, b, again) == 0


def test_p7_a_host_that_stopped_and_does_not_come_back_loses_its_claim() -> None:
    make_devices(1)
    short = LeaseTimes(claim_after_stop=0)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    take(first)
    leases.lay_down(first, short)
    assert len(take(second)) == 1


def test_a_banned_device_is_handed_over_banned_and_an_unlinked_one_stays() -> None:
    [banned] = make_devices(1, state="banned", banned_until=timezone.now() + timedelta(hours=1))
    host, other = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    [unlinked] = make_devices(1, linked=False, state="new", owner_id="a")
    take(host)
    assert leases.release_surplus(host, "simulator", 5) == [banned.pk]
    [taken] = take(other)
    assert (taken.id, taken.state) == (banned.pk, "banned")
    unlinked.refresh_from_db()
    assert unlinked.owner_id == "a"


def test_a_device_that_was_opened_elsewhere_is_not_moved() -> None:
    make_devices(1)
    host = leases.begin("a", SIMULATOR, TIMES)
    take(host)
    Device.objects.update(state="replaced")
    assert leases.release_surplus(host, "simulator", 1) == []


def test_p6_an_older_incarnation_gives_nothing_of_its_successors_away() -> None:
    make_devices(3)
    old = leases.begin("a", SIMULATOR, TIMES)
    take(old)
    leases.begin("a", SIMULATOR, TIMES)
    assert leases.release_surplus(old, "simulator", 3) == []


def test_the_heartbeat_tells_what_the_host_says_of_itself() -> None:
    lease = leases.begin("a", SIMULATOR, TIMES)
    assert leases.renew(lease, TIMES, {"in_flight": 7})
    assert Host.objects.get(pk="a").meters == {"in_flight": 7}
    assert leases.renew(lease, TIMES)
    assert Host.objects.get(pk="a").meters == {"in_flight": 7}
    leases.begin("a", SIMULATOR, TIMES)
    assert Host.objects.get(pk="a").meters == {}


def test_a_host_knows_each_devices_workspace_and_its_weight() -> None:
    workspace = make_workspace(weight=3)
    device = make_device(workspace)
    lease = leases.begin("a", SIMULATOR, TIMES)
    [taken] = take(lease)
    assert (taken.id, taken.workspace, taken.weight) == (device.pk, workspace.pk, 3)
    assert leases.assigned(lease) == [taken]


def test_a_busy_device_is_not_handed_over() -> None:
    make_devices(2)
    lease = leases.begin("a", SIMULATOR, TIMES)
    take(lease)
    Device.objects.update(state="online", open_message=1)
    assert leases.release_surplus(lease, "simulator", 2) == []


def test_only_the_current_epoch_may_write_a_state() -> None:
    [device] = make_devices(1)
    lease = leases.begin("a", SIMULATOR, TIMES)
    take(lease)
    assert record("a", [Report(device.pk, 2, "online")]) == set()
    assert record("b", [Report(device.pk, 1, "online")]) == set()
    assert record("a", [Report(device.pk, 1, "online")]) == {device.pk}
    device.refresh_from_db()
    assert device.state == "online"
    assert list(DeviceEvent.objects.values_list("kind", flat=True)) == ["online"]


def test_what_was_reported_in_between_is_kept() -> None:
    [device] = make_devices(1, linked=False, request="pair", state="pairing")
    take(leases.begin("a", SIMULATOR, TIMES))
    record(
        "a",
        [Report(device.pk, 1, "connecting", phone="+60123456789", served=True), Report(device.pk, 1, "online")],
    )
    device.refresh_from_db()
    assert (device.state, device.phone, device.request) == ("online", "+60123456789", "")


def test_a_host_id_is_kept_and_held_by_one_process(tmp_path: Path) -> None:
    host_id = HostId(tmp_path)
    with pytest.raises(HostIdTaken):
        HostId(tmp_path)
    assert (tmp_path / "host.id").read_text() == host_id.value
    assert (tmp_path / "host.id").stat().st_mode & 0o777 == 0o600


@pytest.mark.faults
def test_p6_two_engines_with_one_id_are_refused(tmp_path: Path) -> None:
    _ = HostId(tmp_path)
    engine = subprocess.run(
        [sys.executable, "manage.py", "run_engine"],
        env={**os.environ, "SESSIONS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert engine.returncode != 0
    assert "another engine runs with the host id" in engine.stderr


@pytest.mark.django_db(transaction=True)
def test_p6_a_lease_that_ran_out_is_not_renewed() -> None:
    lease = leases.begin("slept", ["simulator"], LeaseTimes())
    assert leases.renew(lease, LeaseTimes())
    Host.objects.filter(pk="slept").update(lease_until=timezone.now())
    assert not leases.renew(lease, LeaseTimes())
    assert not Host.objects.alive().filter(pk="slept").exists()
