"""A host keeps its lease through short outages and while a takeover waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from devices.gateway import contract
from devices.hosting import host as module
from devices.hosting import leases
from devices.hosting.host import Host
from devices.hosting.leases import Abandon, LeaseTimes
from devices.hosting.sessions import Sessions
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = LeaseTimes(ttl=3, renew=0.4, stop_after=1, exit_after=60)


class Nobody:
    """A sending half that sends nothing."""

    def on_outcome(self, outcome: contract.Outcome) -> None: ...
    def on_receipt(self, receipt: contract.Receipt) -> None: ...
    def on_incoming(self, incoming: contract.Incoming) -> None: ...
    def on_lost(self, devices: Iterable[int], why: str) -> None: ...
    def on_found(self, found: contract.Found) -> None: ...
    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None: ...
    def on_offline(self, devices: Iterable[int]) -> None: ...


@asynccontextmanager
async def running_host(folder: Path, abandon: Abandon) -> AsyncIterator[Host]:
    lease = await asyncio.to_thread(leases.begin, "here", ["simulator"], TIMES)
    sessions = Sessions(lease.host, folder, {}, {"simulator": 100}, Nobody())
    host = Host(lease, TIMES, ["simulator"], sessions, abandon)
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
