"""Dispatch: jobs in a host's queues rouse its device workers, rows in PostgreSQL decide, and a lost job is no loss."""

from __future__ import annotations

import asyncio
import queue
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django_rq
import pytest
from django.utils import timezone
from redis import Redis

from campaigns.actions.planning import plan_whole
from campaigns.actions.reconcile import reconcile
from campaigns.jobs import planning
from campaigns.models import Campaign, CampaignState, Message
from config.embedded import Valkey, running
from config.schedule import TIMETABLE
from devices import jobs
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from devices.hosting.wake import Wake
from devices.jobs import Bell, host_queue, working_alone
from devices.models import Device
from tests.campaigns.engine_room import EngineRoom, engine_room, owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.devices.hosting.engine_process import Machine, until
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)
POLL_S = 5


@pytest.fixture
def host() -> str:
    """One for each test: an RQ worker that was told to stop may wait at its queues for some seconds more."""
    return f"host-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


def launch(device: Device, people: int = 1) -> Campaign:
    """A campaign that runs from now on through this device."""
    for _ in range(people):
        make_contact(device.workspace)
    campaign = make_campaign(
        device.workspace, devices=(device,), state=CampaignState.RUNNING, launched_at=timezone.now()
    )
    plan_whole(campaign.pk)
    return campaign


def left(campaign: Campaign) -> int:
    return Message.objects.filter(campaign=campaign, state__in=("sent", "delivered", "read")).count()


def test_a_hosts_control_jobs_are_drained_before_campaign_jobs_and_those_before_sequence_jobs(
    redis: Redis, host: str
) -> None:
    arrived: queue.Queue[list[int]] = queue.Queue()
    rung = [*(("sequence", n) for n in range(50)), *(("campaign", n) for n in range(100, 105)), ("control", 200)]
    for lane, number in rung:
        jobs.rouse(lane, [(host, number)])
    Bell.deliver = arrived.put
    wake = Wake(host, 1)
    wake.start()
    try:
        order = [arrived.get(timeout=20)[0] for _ in rung]
    finally:
        wake.stop()
        Bell.deliver = None
    assert order == [200, *range(100, 105), *range(50)]


def test_a_campaign_job_that_comes_late_overtakes_the_sequence_jobs_that_wait(redis: Redis, host: str) -> None:
    arrived: queue.Queue[list[int]] = queue.Queue()

    def deliver(ids: list[int]) -> None:
        if ids == [0]:  # while the first sequence job is at work
            jobs.rouse("campaign", [(host, 100)])
        arrived.put(ids)

    for number in range(10):
        jobs.rouse("sequence", [(host, number)])
    Bell.deliver = deliver
    wake = Wake(host, 1)
    wake.start()
    try:
        order = [arrived.get(timeout=20)[0] for _ in range(11)]
    finally:
        wake.stop()
        Bell.deliver = None
    assert order == [0, 100, *range(1, 10)]


@pytest.mark.faults
def test_with_polling_off_messages_leave_only_on_jobs_and_a_job_is_enough(
    world: SimulatedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away at first: that is when an engine would poll."""
    valkey = Valkey(tmp_path / "data", world.folder / "v" / "valkey", secrets.token_urlsafe(12))
    redis = Redis.from_url(valkey.url)
    monkeypatch.setattr(django_rq, "get_connection", lambda *_: redis)
    device = make_device(make_workspace(), state="connecting", min_delay=0, max_delay=0)
    machine = Machine(world, tmp_path)
    try:
        off = machine.engine("off", ENGINE_POLLING="off", REDIS_URL=valkey.url).start_up()
        until(lambda: off.online() == 1, "the device is online")
        with working_alone():
            campaign = launch(device, people=2)
        time.sleep(2 * POLL_S)
        assert left(campaign) == 0
        assert not world.ledger.exists() or not world.ledger.read_text()
        with running(valkey):
            jobs.rouse("campaign", [(off.host, device.pk)])
            until(lambda: left(campaign) == 2, "both messages leave")
            off.stop()
    finally:
        machine.close()


@contextmanager
def listening(room: EngineRoom, lease: Lease) -> Iterator[None]:
    """The bell between a host's queues and its sender, as the engine hangs it."""
    loop = asyncio.get_running_loop()
    Bell.deliver = lambda ids: loop.call_soon_threadsafe(room.sender.rouse, ids)
    wake = Wake(lease.host, lease.incarnation)
    wake.start()
    try:
        yield
    finally:
        wake.stop()
        Bell.deliver = None


def rests(room: EngineRoom, device: Device) -> bool:
    """It was asked when it came online, and found nothing to do."""
    worker = room.sender.workers.get(device.pk)
    return worker is not None and worker.due is None and not (worker.ready or worker.asking)


@pytest.mark.faults
async def test_p13_a_lost_job_costs_at_most_the_reconcilers_thirty_seconds(
    world: SimulatedWorld, redis: Redis, host: str, look_from_the_loop: None
) -> None:
    [again] = [job for job in TIMETABLE if job.func is planning.reconcile_all]
    assert again.interval is not None
    assert again.interval <= 30
    lease = leases.begin(host, ["simulator"], LeaseTimes())
    device = owned_device(make_workspace(), lease)
    async with engine_room(world, lease) as room:
        await room.until(lambda: rests(room, device), "the device is online and rests")
        campaign = launch(device)
        bells = host_queue("campaign", host)
        assert bells.count == 1
        bells.delete()
        with listening(room, lease):
            await asyncio.sleep(2)
            assert left(campaign) == 0
            reconcile()
            await room.until(lambda: left(campaign) == 1, "the message leaves")
