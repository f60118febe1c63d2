"""Leases against a real Postgres: one owner per device, fenced by epochs, judged by the database's clock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from devices.hosting import leases
from devices.hosting.leases import HostId, HostIdTaken, Lease, LeaseTimes
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


def test_p7_a_host_that_stopped_and_does_not_come_back_loses_its_claim() -> None:
    make_devices(1)
    short = LeaseTimes(claim_after_stop=0)
    first, second = leases.begin("a", SIMULATOR, TIMES), leases.begin("b", SIMULATOR, TIMES)
    take(first)
    leases.lay_down(first, short)
    assert len(take(second)) == 1


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
