"""Devices as rows: where thousands are judged at once, models would cost more than all the rest."""

from __future__ import annotations

from datetime import datetime, time
from typing import NamedTuple
from uuid import UUID

from accounts.models import Workspace
from devices.models import Device
from devices.querysets import DeviceQuerySet


class Seen(NamedTuple):
    """What it takes to tell a device's state and what holds it, by the names of `Device`."""

    pk: int
    uuid: UUID
    name: str
    owner_id: str | None
    state_at: datetime
    state_reason: str
    banned_until: datetime | None
    held_until: datetime | None
    held_reason: str
    open_message: int | None
    next_send_at: datetime
    last_sent_at: datetime | None
    hourly_cap: int | None
    daily_cap: int | None
    warm_cap: int | None
    hour_start: datetime | None
    hour_used: int
    day_start: datetime | None
    day_used: int
    sending_from: time | None
    sending_to: time | None
    shown_state: str
    workspace: Workspace


COLUMNS = Seen._fields[:-1]
Judged = Device | Seen


def seen(devices: DeviceQuerySet) -> list[Seen]:
    """``devices`` is `with_shown_state()`. Two statements; each workspace is made once."""
    rows = list(devices.values_list("workspace_id", *COLUMNS))
    workspaces = Workspace.objects.in_bulk({workspace for workspace, *_ in rows})
    return [Seen._make((*row, workspaces[workspace])) for workspace, *row in rows]
