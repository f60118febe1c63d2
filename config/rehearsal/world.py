"""What is rehearsed: workspaces, their devices, people and campaigns, made in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import connection
from django.utils import timezone

from accounts.models import Membership, Role, User, Workspace
from campaigns.models import Campaign, CampaignDevice, Content
from devices.models import Device, DeviceState, Driver

TEXT = "Hello {{ name }}, your order is ready. Reply STOP to hear no more."


@dataclass(frozen=True)
class Size:
    """How much is rehearsed; delays in seconds."""

    workspaces: int
    devices: int
    messages: int
    min_delay: float
    max_delay: float


def build(size: Size, driver: str = Driver.SIMULATOR, phones: Sequence[str] = ()) -> list[Campaign]:
    """Workspaces with linked devices and people, and one draft for each that goes to everybody on all its devices.

    ``phones``: the devices' numbers, where they are given from outside.
    """
    campaigns = []
    numbers = iter(phones)
    for number, (devices, people) in enumerate(
        zip(even_shares(size.devices, size.workspaces), even_shares(size.messages, size.workspaces), strict=True)
    ):
        workspace = make_workspace(number, devices)
        given = list(islice(numbers, devices)) if phones else made_up_phones(number, devices)
        campaigns.append(make_campaign(workspace, make_devices(workspace, given, size, driver)))
        make_people(workspace, number, people)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return campaigns


def clear() -> None:
    """An empty world. Hosts stay, so that no engine's incarnation is ever used again."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE accounts_user, accounts_workspace CASCADE")


def even_shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def make_workspace(number: int, devices: int) -> Workspace:
    owner = User.objects.create(email=f"owner{number}@rehearsal.invalid")
    workspace = Workspace.objects.create(
        owner=owner, name=f"Rehearsal {number}", timezone="Asia/Kuala_Lumpur", device_limit=max(15, devices)
    )
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    return workspace


def made_up_phones(number: int, count: int) -> list[str]:
    return [f"+6018{number:04d}{place:04d}" for place in range(count)]


def make_devices(workspace: Workspace, phones: Sequence[str], size: Size, driver: str) -> list[Device]:
    return Device.objects.bulk_create(
        Device(
            workspace=workspace,
            name=f"Device {place + 1}",
            driver=driver,
            phone=phone,
            state=DeviceState.OFFLINE,
            state_at=timezone.now(),
            next_send_at=timezone.now(),
            min_delay=size.min_delay,
            max_delay=size.max_delay,
        )
        for place, phone in enumerate(phones)
    )


def make_people(workspace: Workspace, number: int, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO campaigns_contact (workspace_id, phone, name, fields, status, consent_source, opted_out_reason)
            SELECT %s, '+601' || lpad((%s::bigint * 1000000 + n)::text, 9, '0'), 'Person ' || n, '{}', 'customer',
                   'rehearsal', ''
            FROM generate_series(1, %s) n
            """,
            [workspace.pk, number, count],
        )


def make_campaign(workspace: Workspace, devices: list[Device]) -> Campaign:
    content = Content.objects.create(workspace=workspace, text=TEXT)
    campaign = Campaign.objects.create(workspace=workspace, name="Rehearsal", content=content, everyone=True)
    CampaignDevice.objects.bulk_create(
        CampaignDevice(workspace=workspace, campaign=campaign, device=device) for device in devices
    )
    return campaign
