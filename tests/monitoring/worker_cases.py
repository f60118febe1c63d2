"""Device workers in every state a page may show, with queues, meters and a message on its way."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Workspace
from campaigns.last_minute import last_full_minute
from campaigns.live import database_time
from campaigns.models import Campaign, CampaignState, HourMeter, Lane, MinuteMeter, Stream
from devices.models import Device, Host
from tests.factories import make_campaign, make_device, make_host


def every_state(workspace: Workspace, host: Host | None = None) -> dict[str, Device]:
    """A device in each state as shown, by that state."""
    host = host or make_host()
    later = timezone.now() + timedelta(hours=1)
    told: dict[str, dict[str, Any]] = {
        "online": {},
        "connecting": {"state": "connecting"},
        "pairing": {"state": "pairing", "phone": None},
        "held": {"held_until": later, "held_reason": "refused 463"},
        "offline": {"state": "offline", "state_reason": "connection cut"},
        "new": {"state": "new", "phone": None},
        "no_engine": {"owner": None},
        "banned": {"state": "banned", "banned_until": later},
        "replaced": {"state": "replaced"},
        "unlinked": {"state": "unlinked", "phone": None},
        "outdated": {"state": "outdated"},
    }
    return {
        state: make_device(workspace, **{"name": f"Shop {state}", "owner": host, **fields})
        for state, fields in told.items()
    }


def give_work(device: Device, *, pending: int = 0, dead: int = 0, **fields: Any) -> Campaign:
    """A running campaign with so many messages at the device, by its counters alone."""
    campaign = make_campaign(
        device.workspace, devices=(device,), **{"state": CampaignState.RUNNING, "launched_at": timezone.now(), **fields}
    )
    Stream.objects.create(
        workspace=device.workspace,
        campaign=campaign,
        device=device,
        lane=Lane.CAMPAIGN,
        running=True,
        pending=pending,
        dead=dead,
        next_due=timezone.now() if pending else None,
    )
    return campaign


def sent_in_last_minute(device: Device, sent: int, failed: int = 0) -> None:
    """In each minute that may be the last one: a page asks PostgreSQL, whose ``now()`` is when the test's transaction
    began, or its own clock, and by then another minute may have begun."""
    minute = last_full_minute(database_time())
    for start in (minute, minute + timedelta(minutes=1)):
        MinuteMeter.objects.create(workspace=device.workspace, device=device, start=start, sent=sent, failed=failed)


def sent_this_hour(device: Device, sent: int, time_ms: int = 0) -> None:
    """The hour is PostgreSQL's, as pages ask it: that of the test's transaction, however long the test takes."""
    hour = database_time().astimezone(device.workspace.zone).replace(minute=0, second=0, microsecond=0)
    times = [0, 0, sent, *[0] * 9]
    HourMeter.objects.create(
        workspace=device.workspace, device=device, start=hour, sent=sent, time_ms=time_ms, times=times
    )


def plain(html: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode()))
