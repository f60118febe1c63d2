"""A host keeps its lease through short outages and while a takeover waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from devices.gateway import contract
from devices.hosting import host as module
from devices.hosting import leases, shares
from devices.hosting.host import Host, Meters
from devices.hosting.leases import Abandon, LeaseTimes
from devices.hosting.sessions import Sessions
from devices.models import Device
from devices.models import Host as HostRow
from tests.factories import make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = LeaseTimes(ttl=3, renew=0.4, stop_after=1, exit_after=60)


class Nobody:
    """A sending half that sends nothing."""

    def on_outcome(self, outcome: contract.Outcome) -> None: ...
    def on_receipt(self, receipt: contract.Receipt) -> None: ...
    def on_numbers(self, numbers: contract.Numbers) -> None: ...
    def on_incoming(self, incoming: contract.Incoming) -> None: ...
    def is_idle(self, device: int) -> bool:
        return True

    def on_lost(self, devices: Iterable[int], why: str) -> None: ...
    def on_found(self, found: contract.Found) -> None: ...
    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None: ...
    def on_offline(self, devices: Iterable[int]) -> None: ...


@asynccontextmanager
async def running_host(
    folder: Path, abandon: Abandon, meters: Meters = dict, times: LeaseTimes = TIMES
) -> AsyncIterator[Host]:
    lease = await asyncio.to_thread(leases.begin, "here", ["simulator"], times)
    sessions = Sessions(lease.host, folder, {}, {"simulator": 100}, Nobody())
    host = Host(lease, times, ["simulator"], sessions, abandon, meters)
    running = asyncio.ensure_future(host.run())
    try:
        yield host
        assert not running.done(), running
    finally:
        running.cancel()
        await host.close()
        await sessions.stop()


def nothing_to_abandon(cursor: CursorWrapper, devices: Sequence[int]) -> None:
    pass


async def test_p6_a_takeover_that_waits_for_a_lock_does_not_cost_the_lease(tmp_path: Path) -> None:
    waits, waiting = threading.Event(), threading.Event()

    def waits_for_a_lock(cursor: CursorWrapper, devices: Sequence[int]) -> None:
        waiting.set()
        waits.wait(10)

    await asyncio.to_thread(lambda: make_device(make_workspace()))
    async with running_host(tmp_path, waits_for_a_lock) as host:
        await asyncio.to_thread(waiting.wait, 10)
        assert waiting.is_set()
        await asyncio.sleep(2 * TIMES.stop_after)
        assert host.watchdog.may_start()
        waits.set()


async def test_a_renewal_that_failed_is_tried_again_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renew, outage = leases.renew, [True, True, True]
    monkeypatch.setattr(module, "RETRY_S", 0.05)

    def away_at_first(*arguments: object) -> bool:
        if outage:
            outage.pop()
            raise OperationalError("the database system is starting up")
        return renew(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "renew", away_at_first)
    async with running_host(tmp_path, nothing_to_abandon) as host:
        await asyncio.sleep(TIMES.renew + 0.5)
        assert not outage
        assert host.watchdog._renewed > module.watchdog.now() - 0.4


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
        await asyncio.sleep(0.02)


async def test_p6_a_host_whose_lease_gets_old_starts_nothing_until_it_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = leases.renew

    def away(*arguments: object) -> bool:
        raise OperationalError("the database system is shutting down")

    async with running_host(tmp_path, nothing_to_abandon) as host:
        assert host.watchdog.may_start()
        monkeypatch.setattr(module, "RETRY_S", 0.05)
        monkeypatch.setattr(leases, "renew", away)
        await until(lambda: not host.watchdog.may_start(), "it starts nothing any more")
        age = module.watchdog.now() - host.watchdog._renewed
        assert TIMES.stop_after <= age < TIMES.ttl
        monkeypatch.setattr(leases, "renew", renew)
        await until(host.watchdog.may_start, "it goes on")


async def test_a_host_says_at_every_heartbeat_how_it_is(tmp_path: Path) -> None:
    beats = iter(range(1, 1000))

    def told() -> int:
        return HostRow.objects.get(pk="here").meters.get("beat", 0)

    async with running_host(tmp_path, nothing_to_abandon, lambda: {"beat": next(beats)}):
        await until(lambda: told() == 1, "the first beat")
        await until(lambda: told() == 2, "the second one")


async def test_whoever_asks_hears_how_it_is_long_before_the_next_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    beats = iter(range(1, 1000))
    rarely = replace(TIMES, ttl=60, renew=30)

    def says(beat: int) -> bool:
        return bool(HostRow.objects.get(pk="here").meters.get("beat", 0) == beat)

    async with running_host(tmp_path, nothing_to_abandon, lambda: {"beat": next(beats)}, rarely) as host:
        for beat in (1, 2):
            host.look([])
            await until(partial(says, beat), "it says so")


@pytest.mark.parametrize("untold", [float("nan"), object()])
async def test_p6_no_figure_that_cannot_be_told_costs_the_lease(tmp_path: Path, untold: object) -> None:
    async with running_host(tmp_path, nothing_to_abandon, lambda: {"load": untold}) as host:
        began = host.watchdog._renewed
        await until(lambda: host.watchdog._renewed > began, "the lease is renewed")


async def test_surplus_is_handed_over_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_AT_ONCE", 2)
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    given: list[int] = []
    release = shares.release

    def counted(*arguments: object) -> list[int]:
        released = release(*arguments)  # type: ignore[arg-type]
        given.append(len(released))
        return released

    monkeypatch.setattr(shares, "release", counted)

    def devices_and_another_host() -> None:
        workspace = make_workspace()
        for _ in range(10):
            make_device(workspace)
        make_host(id="zzz")

    async with running_host(tmp_path, nothing_to_abandon):
        await asyncio.to_thread(devices_and_another_host)
        await asyncio.to_thread(Device.objects.update, owner="here")
        await until(lambda: Device.objects.filter(owner="here").count() == 5, "half of them are left")
    assert [batch for batch in given if batch] == [2, 2, 1]


async def test_a_predecessors_devices_are_taken_once_whatever_fails_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken again they would be its own, and what it is sending would be given up."""
    ban_over, outage = leases.ban_over, [True]

    def away_at_first(lease: leases.Lease) -> list[leases.OwnedDevice]:
        if outage:
            outage.pop()
            raise OperationalError("the database system is starting up")
        return ban_over(lease)

    def device_of_a_predecessor() -> Device:
        host = make_host(id="here")
        return make_device(make_workspace(), owner=host, epoch=4)

    monkeypatch.setattr(leases, "ban_over", away_at_first)
    device = await asyncio.to_thread(device_of_a_predecessor)
    async with running_host(tmp_path, nothing_to_abandon):
        await until(lambda: not outage, "the database was away")
        await asyncio.sleep(2 * TIMES.renew)
    assert (await asyncio.to_thread(Device.objects.get, pk=device.pk)).epoch == 5
