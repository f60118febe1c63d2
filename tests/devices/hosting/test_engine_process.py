"""Engines as real processes with short leases: killed, stopped, cut off and frozen, a device always has one owner."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from campaigns.actions.planning import plan_whole
from campaigns.models import Campaign, CampaignState, Message
from devices.models import Device, Host
from monitoring.invariants import audit, is_clean
from tests.devices.gateway.world import SimulatedWorld
from tests.devices.hosting.engine_process import SHORT_LEASES, Machine, database_url, door, until
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
TTL_S = float(SHORT_LEASES["LEASE_TTL"])


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


@pytest.fixture
def machine(world: SimulatedWorld, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(world, tmp_path)
    yield machine
    machine.close()


def make_devices(count: int) -> list[Device]:
    workspace = make_workspace()
    return [make_device(workspace, state="connecting", min_delay=0, max_delay=0) for _ in range(count)]


def launch(devices: list[Device], people: int) -> Campaign:
    """A campaign that runs from now on, rung for."""
    workspace = devices[0].workspace
    for _ in range(people):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=tuple(devices), state=CampaignState.RUNNING, launched_at=timezone.now())
    plan_whole(campaign.pk)
    return campaign


def left(campaign: Campaign) -> int:
    return Message.objects.filter(campaign=campaign, state__in=("sent", "delivered", "read")).count()


def epochs() -> dict[int, int]:
    return dict(Device.objects.values_list("pk", "epoch"))


def test_p7_the_devices_of_a_killed_host_send_again_with_another(machine: Machine) -> None:
    devices = make_devices(6)
    first, second = machine.engine("a").start_up(), machine.engine("b").start_up()
    until(lambda: (first.online(), second.online()) == (3, 3), "they share the devices evenly")
    before = epochs()
    first.kill()
    killed = time.monotonic()
    until(lambda: second.online() == 6, "the other host has them all online")
    assert time.monotonic() - killed < TTL_S + 5
    assert sum(after > before[pk] for pk, after in epochs().items()) == 3
    campaign = launch(devices, people=12)
    until(lambda: left(campaign) == 12, "everything is sent")
    assert is_clean(audit()), audit()


def test_p8_a_stopped_host_ends_in_time_and_a_restart_on_its_disk_has_its_devices_at_once(machine: Machine) -> None:
    make_devices(4)
    first, second = machine.engine("a").start_up(), machine.engine("b").start_up()
    until(lambda: (first.online(), second.online()) == (2, 2), "they share the devices evenly")
    mine = set(Device.objects.filter(owner_id=first.host).values_list("pk", flat=True))
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 10
    time.sleep(TTL_S + 1)  # the claim outlasts the lease: the others must leave the devices alone
    assert set(Device.objects.filter(owner_id=first.host).values_list("pk", flat=True)) == mine
    first.start_up()
    until(lambda: first.online() == 2, "it has them online again")
    assert set(Device.objects.filter(owner_id=first.host).values_list("pk", flat=True)) == mine


def test_p7_a_stopped_host_that_does_not_come_back_hands_its_devices_over(machine: Machine) -> None:
    make_devices(4)
    first = machine.engine("a", LEASE_CLAIM_AFTER_STOP="1").start_up()
    second = machine.engine("b").start_up()
    until(lambda: (first.online(), second.online()) == (2, 2), "they share the devices evenly")
    assert first.stop() == 0
    until(lambda: second.online() == 4, "the other host has them all online")


def test_p6_a_second_engine_on_the_same_disk_is_refused_and_the_first_goes_on(machine: Machine) -> None:
    devices = make_devices(1)
    first = machine.engine("a").start_up()
    until(lambda: first.online() == 1, "the device is online")
    before = epochs()
    second = machine.engine("a")
    second.log = first.disk.with_suffix(".second.log")
    assert second.start().process.wait(20) != 0
    assert "another engine runs with the host id" in second.said
    campaign = launch(devices, people=2)
    until(lambda: left(campaign) == 2, "the first one sends")
    assert epochs() == before


def test_p6_an_engine_cut_off_from_postgres_ends_itself_and_its_restart_waits_until_postgres_is_back(
    machine: Machine,
) -> None:
    devices = make_devices(2)
    with door() as postgres:
        engine = machine.engine("a", DATABASE_URL=database_url(str(postgres.folder))).start_up()
        until(lambda: engine.online() == 2, "the devices are online")
        postgres.shut()
        shut = time.monotonic()
        assert engine.process.wait(20) == 75  # its own watchdog
        assert time.monotonic() - shut < TTL_S, "before anybody else may take its devices"
        engine.start()  # as supervisor does, again and again
        until(lambda: "PostgreSQL is not reachable, waiting" in engine.said, "it waits")
        time.sleep(2 * TTL_S)  # longer than every patience of a lease
        assert engine.process.poll() is None
        postgres.open()
        until(lambda: engine.online() == 2, "it has its devices online again")
        campaign = launch(devices, people=4)
        until(lambda: left(campaign) == 4, "everything is sent")
        assert is_clean(audit()), audit()


def test_p6_a_frozen_host_loses_its_devices_and_ends_when_it_wakes(machine: Machine) -> None:
    make_devices(2)
    first = machine.engine("a").start_up()
    until(lambda: first.online() == 2, "the devices are online")
    second = machine.engine("b").start_up()
    until(lambda: (first.online(), second.online()) == (1, 1), "they share the devices evenly")
    first.process.send_signal(signal.SIGSTOP)
    until(lambda: second.online() == 2, "the other host has them all online")
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(10) == 75
    assert not Host.objects.alive().filter(pk=first.host).exists()
