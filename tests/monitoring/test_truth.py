"""Every figure of the dashboards is true: while messages leave it equals the rows of the same moment, and its list."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Workspace
from campaigns.actions.planning import plan_whole
from campaigns.live import figures_from
from campaigns.models import Campaign, CampaignState, Message
from campaigns.querysets.campaigns import COUNTERS
from campaigns.recipients import asked_list, messages_behind
from campaigns.shown import LISTS
from devices.hosting import leases
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.device_report import devices_of
from monitoring.overview import overview
from monitoring.period import period
from monitoring.summary import Asked, campaigns_of
from monitoring.workers import Scope, rows_of
from tests.campaigns.engine_room import engine_room, owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.usefixtures("look_from_the_loop"),
]
PEOPLE = 24


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


@pytest.fixture
def lease() -> Lease:
    return leases.begin("here", ["simulator"], leases.LeaseTimes())


def running(workspace: Workspace, lease: Lease, name: str) -> Campaign:
    """At two devices of its own; its people are written to without a gap."""
    devices = tuple(owned_device(workspace, lease) for _ in range(2))
    campaign = make_campaign(workspace, devices=devices, state=CampaignState.RUNNING, name=name)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    plan_whole(campaign.pk)
    return campaign


def figures_of_rows(**which: object) -> dict[str, int]:
    """Counted row by row."""
    rows = Message.objects.filter(**which)
    counts = dict.fromkeys(COUNTERS, 0) | Counter(rows.values_list("state", flat=True))
    return figures_from(counts | {"replied": rows.filter(replied_at__isnull=False).count()})


def look(workspace: Workspace) -> dict[str, int]:
    """At everything, as of one instant; the figures of the whole."""
    with transaction.atomic():
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        whole = figures_of_rows(workspace=workspace)
        assert whole["should"] == sum(whole[key] for key in ("sent", "failed", "remaining", "skipped", "uncertain"))
        today = period("today", timezone.now(), workspace.zone)
        summary = campaigns_of(workspace, today, Asked(sort="newest"))
        devices = devices_of(workspace, today, Asked(sort="name"))
        home = overview(workspace)
        assert {key: summary.totals.figures[key] for key in LISTS} == {key: whole[key] for key in LISTS}
        assert {key: devices.totals.figures[key] for key in LISTS} == {key: whole[key] for key in LISTS}
        assert {figure.label.lower(): figure.value for figure in home["funnel"].figures}.items() <= whole.items()
        for line in summary.lines:
            true = figures_of_rows(campaign=line.campaign)
            behind = {
                cell.key: messages_behind(line.campaign, asked_list({"figure": cell.key}, [])).count()
                for cell in line.cells
            }
            assert {cell.key: cell.value for cell in line.cells} == behind
            assert behind.items() <= true.items()
        for campaign, row in home["rows"]:
            assert row.figures == figures_of_rows(campaign=campaign)
        for line in devices.lines:
            assert line.figures == figures_of_rows(stream__device=line.device)
        own = list(Device.objects.for_workspace(workspace).values_list("pk", flat=True))
        for row in rows_of(Scope(workspace), own):
            waits = Message.objects.filter(stream__device=row.device, state__in=("pending", "waiting"))
            assert row.queue.depth == waits.count()
            sending = Message.objects.filter(pk=row.device.open_message or 0).first()
            assert (row.sends is not None) == (sending is not None)
    return whole


async def test_every_figure_equals_the_rows_and_its_list_at_random_moments_of_the_sending(
    world: SimulatedWorld, lease: Lease
) -> None:
    workspace, other = make_workspace(), make_workspace()
    people = [make_contact(workspace) for _ in range(PEOPLE)]
    make_contact(other)
    campaigns = [running(workspace, lease, name) for name in ("Spring", "Summer")]
    running(other, lease, "Not theirs")
    for person in people[:4]:
        world.control.rule({"to": person.phone}, refuse=405)
    world.control.rule(delay_s=0.1)
    dice, seen = random.Random(11), set()
    async with engine_room(world, lease, limit=4) as room:
        while (whole := look(workspace))["remaining"]:
            seen.add(whole["sent"])
            await asyncio.sleep(dice.uniform(0.02, 0.2))
        sender = campaigns[0].messages.filter(contact=people[10]).values_list("stream__device__phone", flat=True).get()
        world.control.reply(sender or "", people[10].phone, "How much is it?")
        await room.until(lambda: look(workspace)["replied"] == 1, "somebody answered")
    assert len(seen) >= 4, "there was something to see while it was sent"
    whole = look(workspace)
    assert (whole["failed"], whole["should"]) == (4 * len(campaigns), PEOPLE * len(campaigns))
