"""Devices of a host, running campaigns, and what is asked and told of them, for tests of the outbox."""

from __future__ import annotations

import secrets
import time
from typing import Any

from django.utils import timezone

from accounts.models import Workspace
from campaigns import outbox
from campaigns.actions.planning import plan_chunk
from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.models import Campaign, CampaignState, Message, Stream
from campaigns.outbox import Ask, Claimed, Held, Settlement
from devices.hosting.leases import Lease
from devices.models import Device
from tests.factories import make_campaign, make_contact, make_device


def owned_device(workspace: Workspace, lease: Lease, **fields: Any) -> Device:
    return make_device(workspace, **{"owner_id": lease.host, "epoch": 1, "min_delay": 0, "max_delay": 0, **fields})


def running_campaign(workspace: Workspace, devices: list[Device], people: int, **fields: Any) -> Campaign:
    for _ in range(people):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=tuple(devices), state=CampaignState.RUNNING, **fields)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    campaign.refresh_from_db()
    while not plan_chunk(campaign.pk, size=3):
        pass
    campaign.refresh_from_db()
    return campaign


def ask(device: Device) -> list[Ask]:
    return [Ask(device.pk, device.epoch, 0.5, secrets.token_bytes(32))]


def sent(claimed: Claimed, device: Device, **fields: object) -> Settlement:
    values = {
        "state": "sent",
        "reason": "",
        "text": "Hello",
        "delay": claimed.delay,
        "wire_at": time.time(),
        "wire_id": f"id-{claimed.message}",
        "chat": "chat",
        "at": time.time(),
        **fields,
    }
    return Settlement(claimed.device, device.epoch, claimed.message, claimed.tag, **values)  # type: ignore[arg-type]


def claim_one(lease: Lease, device: Device) -> Claimed:
    [answer] = outbox.claim(lease, ask(device))
    while isinstance(answer, Held) and answer.reason == "again":  # a stream was laid to rest, or somebody skipped
        [answer] = outbox.claim(lease, ask(device))
    assert isinstance(answer, Claimed), answer
    return answer


def assert_counters_are_true(campaign: Campaign) -> None:
    counted = Stream.objects.filter(campaign=campaign).totals()
    for state in MESSAGE_STATES:
        rows = Message.objects.filter(campaign=campaign, state=state).count()
        assert counted[f"n_{state}"] == rows, state
    assert counted["should"] == campaign.recipients


def hold_one(lease: Lease, device: Device) -> Held:
    [answer] = outbox.claim(lease, ask(device))
    assert isinstance(answer, Held), answer
    return answer
