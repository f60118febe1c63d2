"""Devices as rows: where thousands are judged at once, models would cost more than all the rest."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import NamedTuple
from uuid import UUID

from django.db.models import FloatField, Func

from accounts.models import Workspace
from devices.models import Device
from devices.querysets import DeviceQuerySet


class Seen(NamedTuple):
    """What it takes to tell a device's state and what holds it, by the names of `Device`."""

    pk: int
    uuid: UUID
    name: str
    owner_id: str | None
    state_reason: str
    held_reason: str
    open_message: int | None
    hourly_cap: int | None
    daily_cap: int | None
    warm_cap: int | None
    hour_used: int
    day_used: int
    sending_from: time | None
    sending_to: time | None
    shown_state: str
    state_at: datetime
    next_send_at: datetime
    banned_until: datetime | None
    held_until: datetime | None
    last_sent_at: datetime | None
    hour_start: datetime | None
    day_start: datetime | None
    workspace: Workspace


FIRST_MOMENT = Seen._fields.index("state_at")
PLAIN, MOMENTS = Seen._fields[:FIRST_MOMENT], Seen._fields[FIRST_MOMENT:-1]
Judged = Device | Seen


def seen(devices: DeviceQuerySet) -> list[Seen]:
    """``devices`` is `with_shown_state()`. Two statements; each workspace is made once."""
    moments = [Epoch(moment) for moment in MOMENTS]
    rows = list(devices.values_list("workspace_id", *PLAIN, *moments))
    workspaces = Workspace.objects.in_bulk({workspace for workspace, *_ in rows})
    return [
        Seen._make((*row[:FIRST_MOMENT], *map(moment_at, row[FIRST_MOMENT:]), workspaces[workspace]))
        for workspace, *row in rows
    ]


class Epoch(Func):
    """Seconds: to read thousands of instants as text takes longer than everything else that is done with them."""

    template = "date_part('epoch', %(expressions)s)"
    output_field = FloatField()


def moment_at(seconds: float | None) -> datetime | None:
    """To the microsecond, which a double tells apart until the year 2100."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
