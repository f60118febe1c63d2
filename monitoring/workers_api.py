"""What programs read of device workers: each device's state, queue, pace and meters, without a phone number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.models import Workspace
from campaigns.meters import LiveMeter, live_meters
from campaigns.querysets.lanes import lane_depths
from devices.models import Device
from devices.seen import Seen, seen
from devices.shown import held, may_send_at, shown
from monitoring.checkup import database
from monitoring.workers import LANE_WORDS

A_PAGE = 1_000


def workers_answer(workspace: Workspace | None, after: UUID | None, limit: int) -> dict[str, Any]:
    """Everything `GET /api/workers/status` answers. Without a workspace: all devices, and the hosts; for staff.

    ``next`` is the id to ask after for those that follow, null at the end.
    """
    devices = Device.objects.with_shown_state().order_by("pk")
    if workspace:
        devices = devices.for_workspace(workspace)
    if after:
        devices = devices.filter(pk__gt=devices.order_by().filter(uuid=after).values("pk")[:1])
    page = seen(devices[: limit + 1])
    more, page = len(page) > limit, page[:limit]
    answer: dict[str, Any] = {
        "at": timezone.now().isoformat(),
        "workspace": str(workspace.uuid) if workspace else None,
        "devices": devices_told(page, with_host=workspace is None),
        "next": str(page[-1].uuid) if more else None,
    }
    return answer if workspace else answer | {"hosts": hosts_told()}


def devices_told(devices: Sequence[Seen], with_host: bool) -> list[dict[str, Any]]:
    meters = live_meters(devices)
    queued = lane_depths([device.pk for device in devices])
    return [told(device, meters[device.pk], queued.get(device.pk, {}), with_host) for device in devices]


def told(device: Seen, meter: LiveMeter, queued: Mapping[int, int], with_host: bool) -> dict[str, Any]:
    """``queued``: by lane."""
    state, hold = shown(device), held(device)
    return {
        "id": str(device.uuid),
        "name": device.name,
        "state": device.shown_state,
        "state_since": device.state_at.isoformat(),
        **({"host": device.owner_id, "workspace": str(device.workspace.uuid)} if with_host else {}),
        "queue": {word: queued.get(lane, 0) for lane, word in LANE_WORDS.items()},
        "minute": meter.minute._asdict(),
        "hour": meter.hour._asdict(),
        "day": meter.day._asdict(),
        "counted_at": moment(meter.at),
        "mean_ms": meter.mean_ms,
        "p95_ms": meter.p95_ms,
        "held_by": hold.verdict if hold else None,
        "next_send_at": moment(may_send_at(device, hold)),
        "last_sent_at": moment(device.last_sent_at),
        "last_error": (state.reason or None) if state.colour in ("red", "amber") else None,
    }


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def hosts_told() -> list[dict[str, Any]]:
    return [
        {
            "id": host.id,
            "alive": host.lives,
            "devices": host.owned,
            "lease_age_s": round(host.silence.total_seconds(), 1),
            "retiring": host.retiring,
            "meters": host.meters,
        }
        for host in database.hosts()
    ]
