"""What a person can do to a device; the owning host fulfils what needs WhatsApp (`Device.request`)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, time, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEntry, User, Workspace
from accounts.tenancy import beyond_workspace
from devices import live
from devices.jobs import hurry, rouse
from devices.models import Device, DeviceEvent, DeviceState, Host, Request
from devices.warm_up import LADDER

PAIRING_ASKED = "pairing asked"
PAIRINGS_AN_HOUR = 20  # of a workspace: WhatsApp looks askance at who begins links all day long


class Refused(Exception):
    """The action cannot be done now; the text is a sentence for the person who asked."""


class TooMany(Refused):
    """Asked too often; ``retry_after_s`` says when it may be asked again."""

    def __init__(self, sentence: str, retry_after_s: int) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


@transaction.atomic
def add_device(workspace: Workspace, by: User, name: str, driver: str, **pace: Any) -> Device:
    """Raises `Refused` when the workspace has all its devices or the name is taken; the database judges both."""
    try:
        with transaction.atomic():
            device = Device.objects.create(workspace=workspace, name=name, driver=driver, **pace)
    except IntegrityError as error:
        raise Refused(_reason(error, workspace)) from error
    _note(device, by, "added")
    return device


@transaction.atomic
def pair_device(device: Device, by: User, *, phone: str | None = None, by_code: bool = False) -> bool:
    """Ask a living host to link the device; without one the request waits until a host runs.

    ``phone`` (E.164) is the only number that may be linked; ``by_code``: by a code typed on that phone, not by scanning
    one. False when the device is linked already, or a request is open, or somebody else was faster. Raises `TooMany`.
    """
    if by_code and not phone:
        raise ValueError("A typed code is made for one number.")
    _take_turn(device.workspace)
    asked = Device.objects.filter(
        pk=device.pk, epoch=device.epoch, phone__isnull=True, open_message__isnull=True, request=Request.NOTHING
    )
    hosts = Host.objects.taking_devices(device.driver)
    assignment: dict[str, Any] = {}
    if hosts.filter(pk=device.owner_id).exists():
        asked = asked.exclude(state=DeviceState.PAIRING)
    else:
        with beyond_workspace():
            host = hosts.by_load().first()
        assignment = {"owner": host, "epoch": device.epoch + 1} if host else {}
    way = {"pair_phone": phone, "pair_by_code": by_code}
    if not asked.update(request=Request.PAIR, requested_at=Now(), **way, **assignment):
        return False
    _note(device, by, PAIRING_ASKED, acknowledged="outside WhatsApp's terms; recipients agreed", by_code=by_code)
    _ring(device)
    return True


def _take_turn(workspace: Workspace) -> None:
    """Counted in the audit ledger, which outlives a removed device; one after the other, so that none slips by."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('pairing', %s))", [workspace.pk])
    hour = timedelta(hours=1)
    begun = AuditEntry.objects.for_workspace(workspace).filter(action=f"device.{PAIRING_ASKED.replace(' ', '_')}")
    recent: list[datetime] = list(
        begun.filter(at__gt=timezone.now() - hour).order_by("-at").values_list("at", flat=True)[:PAIRINGS_AN_HOUR]
    )
    if len(recent) == PAIRINGS_AN_HOUR:
        wait = max(1, round((recent[-1] + hour - timezone.now()).total_seconds()))
        minutes = -(-wait // 60)
        again = f"Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        raise TooMany(f"{PAIRINGS_AN_HOUR} pairings were begun here within the hour. {again}", wait)


@transaction.atomic
def cancel_pairing(device: Device, by: User) -> bool:
    """A pairing that no host has taken up ends at once; otherwise its host ends it."""
    mine = Device.objects.filter(pk=device.pk)
    cancelled = mine.filter(owner=None, request=Request.PAIR).update(request=Request.NOTHING, requested_at=None)
    if not cancelled:
        pairing = mine.filter(request=Request.PAIR) | mine.filter(request=Request.NOTHING, state=DeviceState.PAIRING)
        cancelled = pairing.update(request=Request.CANCEL_PAIR, requested_at=Now())
    if not cancelled:
        return False
    _note(device, by, "pairing cancelled")
    _ring(device)
    return True


@transaction.atomic
def reconnect_device(device: Device, by: User) -> bool:
    """Have the host log the device in afresh. Not while banned: WhatsApp has said until when."""
    if not reconnect_devices(device.workspace, [device.pk], by):
        return False
    device.refresh_from_db()
    return True


@transaction.atomic
def reconnect_devices(workspace: Workspace, ids: Collection[int], by: User) -> set[int]:
    """As `reconnect_device`, with one lock, one bell for each host and one push; returns those that it is asked for."""
    linked = Device.objects.for_workspace(workspace).filter(pk__in=ids, phone__isnull=False, request=Request.NOTHING)
    allowed = linked.exclude(state=DeviceState.BANNED, banned_until__gt=Now())
    locked = dict(allowed.order_by("pk").select_for_update(no_key=True).values_list("pk", "owner_id"))
    if not locked:
        return set()
    chosen = Device.objects.filter(pk__in=locked)
    chosen.update(request=Request.RECONNECT, requested_at=Now())
    named = list(chosen.order_by("pk").only("pk", "uuid"))
    DeviceEvent.objects.bulk_create(
        DeviceEvent(workspace=workspace, device=device, kind="reconnect asked", detail=f"by {by}"[:200])
        for device in named
    )
    audit.record_each(workspace, by, "device.reconnect_asked", map(target, named))
    for host in set(locked.values()):
        hurry(host, [pk for pk, owner in locked.items() if owner == host])
    live.push_devices(locked)
    return set(locked)


@transaction.atomic
def lift_hold(device: Device, by: User) -> bool:
    """Send again before WhatsApp's refusal of the number has run out; another refusal holds it for longer."""
    held = Device.objects.filter(pk=device.pk, held_until__gt=Now())
    if not held.update(held_until=Now()):
        return False
    _note(device, by, "hold ended", reason=device.held_reason)
    rouse("campaign", [(device.owner_id, device.pk)])
    live.push_devices([device.pk])
    return True


@transaction.atomic
def unlink_device(device: Device, by: User) -> bool:
    """Have the host log the session out, on the phone too. Unsent messages wait until the device is linked again."""
    linked = Device.objects.filter(pk=device.pk, phone__isnull=False, request__in=[Request.NOTHING, Request.RECONNECT])
    if not linked.update(request=Request.UNLINK, requested_at=Now()):
        return False
    _note(device, by, "unlink asked")
    _ring(device)
    return True


@transaction.atomic
def rename_device(device: Device, by: User, name: str) -> None:
    """Raises `Refused` when another device of the workspace has the name."""
    former = device.name
    if name == former:
        return
    try:
        with transaction.atomic():
            renamed = Device.objects.filter(pk=device.pk).update(name=name)
    except IntegrityError as error:
        raise Refused(_reason(error, device.workspace)) from error
    if not renamed:
        raise Refused("This device was removed meanwhile.")
    device.name = name
    _note(device, by, "renamed", former=former)
    live.push_devices([device.pk])


@transaction.atomic
def set_pace(
    device: Device,
    by: User,
    *,
    min_delay: float,
    max_delay: float,
    hourly_cap: int | None,
    daily_cap: int | None,
    sending_from: time | None,
    sending_to: time | None,
    warm_up: bool,
) -> None:
    """The next claim obeys the new pace; a gap already drawn stays as it was drawn, a warm-up keeps its rung."""
    pace = {
        # In milliseconds: PostgreSQL can't multiply 1e-323 s by a draw, and the error would stop all of a claim.
        "min_delay": round(min_delay, 3),
        "max_delay": round(max_delay, 3),
        "hourly_cap": hourly_cap,
        "daily_cap": daily_cap,
        "sending_from": sending_from,
        "sending_to": sending_to,
    }
    this = Device.objects.filter(pk=device.pk)
    if not this.update(**pace):
        raise Refused("This device was removed meanwhile.")
    if not warm_up:
        this.update(warm_cap=None, warm_day=None, warm_replies=0)
    else:
        today = timezone.now().astimezone(device.workspace.zone).date()
        this.filter(warm_cap__isnull=True).update(warm_cap=LADDER[0], warm_day=today, warm_replies=0)
    hours = {name: pace[name] and f"{pace[name]:%H:%M}" for name in ("sending_from", "sending_to")}
    _note(device, by, "pace changed", **{**pace, **hours, "warm_up": warm_up})
    rouse("campaign", [(device.owner_id, device.pk)])  # it may be waiting for a tomorrow that has just come nearer
    live.push_devices([device.pk])


@transaction.atomic
def remove_device(device: Device, by: User) -> None:
    """Raises `Refused` while the device is linked, busy, or has messages: they are the record of what was sent."""
    # A new stream or campaign link takes a key lock on this row: with the row locked nothing joins it while we look.
    found = Device.objects.filter(pk=device.pk).select_for_update().first()
    if found is None:
        return
    if found.phone is not None or found.request or found.state == DeviceState.PAIRING:
        raise Refused("Unlink the device first: its session would stay open on the phone.")
    if found.streams.exists():
        raise Refused("This device has messages. They are the record of what was sent, so it stays.")
    if found.campaign_links.exists():
        raise Refused("A campaign has chosen this device. Take it out of the campaign first.")
    audit.record(device.workspace, by, "device.removed", target(device), name=device.name)
    live.push_removed(found)
    found.delete()


def target(device: Device) -> str:
    """How the audit ledger names this device."""
    return f"device:{device.uuid}"


def _ring(device: Device) -> None:
    device.refresh_from_db()
    hurry(device.owner_id, [device.pk])
    live.push_devices([device.pk])


def _note(device: Device, by: User, what: str, **detail: Any) -> None:
    """The same deed for the workspace's audit ledger and for the device's own history."""
    DeviceEvent.objects.create(workspace=device.workspace, device=device, kind=what, detail=f"by {by}"[:200])
    audit.record(device.workspace, by, f"device.{what.replace(' ', '_')}", target(device), **detail)


def _reason(error: IntegrityError, workspace: Workspace) -> str:
    constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "")
    if constraint == "devices_within_limit":
        allowed = workspace.device_limit
        return f"This workspace has its {allowed} device{'' if allowed == 1 else 's'}."
    if constraint == "one_device_per_name":
        return "Another device has this name."
    raise error
