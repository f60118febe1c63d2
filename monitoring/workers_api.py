"""What programs read of device workers: each device's state, queue, pace and meters, without a phone number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Sum
from django.utils import timezone

from accounts.models import Workspace
from campaigns.meters import LiveMeter, live_meters
from campaigns.models import Lane, Stream
from devices.models import Device
from devices.shown import held, may_send_at, shown
from monitoring.checkup import database

A_PAGE = 1_000


def workers_answer(workspace: Workspace | None, after: UUID | None, limit: int) -> dict[str, Any]:
    """Everything `GET /api/workers/status` answers. Without a workspace: all devices, and the hosts; for staff.

    ``next`` is the id to ask after for those that follow, null at the end.
    """
    devices = Device.objects.select_related("workspace").with_shown_state().order_by("pk")
    if workspace:
        devices = devices.for_workspace(workspace)
    if after:
        devices = devices.filter(pk__gt=devices.order_by().filter(uuid=after).values("pk")[:1])
    page = list(devices[: limit + 1])
    more, page = len(page) > limit, page[:limit]
    answer: dict[str, Any] = {
        "at": timezone.now().isoformat(),
        "workspace": str(workspace.uuid) if workspace else None,
        "devices": devices_told(page, with_host=workspace is None),
        "next": str(page[-1].uuid) if more else None,
    }
    return answer if workspace else answer | {"hosts": hosts_told()}


def devices_told(devices: Sequence[Device], with_host: bool) -> list[dict[str, Any]]:
    meters = live_meters(devices)
    queued = queues_of(devices)
    return [told(device, meters[device.pk], queued.get(device.pk, {}), with_host) for device in devices]


def told(device: Device, meter: LiveMeter, queue: dict[str, int], with_host: bool) -> dict[str, Any]:
    state, hold = shown(device), held(device)
    windows = {"minute": meter.minute, "hour": meter.hour, "day": meter.day}
    return {
        "id": str(device.uuid),
        "name": device.name,
        "state": device.shown_state,
        "state_since": device.state_at.isoformat(),
        **({"host": device.owner_id, "workspace": str(device.workspace.uuid)} if with_host else {}),
        "queue": {lane.label: queue.get(lane.label, 0) for lane in Lane},
        **{window: asdict(counts) for window, counts in windows.items()},
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


def queues_of(devices: Sequence[Device]) -> dict[int, dict[str, int]]:
    """What running streams still have to send, by device and lane."""
    rows = (
        Stream.objects.filter(device__in=[device.pk for device in devices], running=True)
        .values_list("device", "lane")
        .annotate(n=Sum("pending") + Sum("waiting"))
        .order_by()
    )
    found: dict[int, dict[str, int]] = {}
    for device, lane, count in rows:
        found.setdefault(device, {})[Lane(lane).label] = count
    return found


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
