"""Plain factories: each makes one saved row with sensible fields, and takes any field by name."""

from __future__ import annotations

import itertools
from datetime import timedelta
from io import BytesIO
from typing import Any

from django.utils import timezone
from PIL import Image

from accounts.models import Membership, Role, User, Workspace
from campaigns.actions.importing import work_on_import
from campaigns.actions.imports import Readable, layout_of, start_import, upload_file
from campaigns.actions.media import keep_file
from campaigns.actions.templates import save_template
from campaigns.imports.mapping import guess_columns, has_header
from campaigns.models import (
    Campaign,
    CampaignDevice,
    CampaignState,
    Contact,
    ContactImport,
    ContactTag,
    Content,
    ImportState,
    Media,
    Segment,
    Suppression,
    SuppressionSource,
    Tag,
    Template,
)
from devices.models import Device, DeviceState, Host
from monitoring.models import WallLink

_numbers = itertools.count(1)


def make_user(email: str = "", **fields: Any) -> User:
    return User.objects.create_user(
        email or f"user{next(_numbers)}@example.com", fields.pop("password", None), **fields
    )


def make_workspace(owner: User | None = None, **fields: Any) -> Workspace:
    owner = owner or make_user()
    workspace = Workspace.objects.create(
        owner=owner, **{"name": f"Workspace {next(_numbers)}", "timezone": "Asia/Kuala_Lumpur", **fields}
    )
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    return workspace


def make_member(workspace: Workspace, role: str, **fields: Any) -> User:
    user = make_user(**fields)
    Membership.objects.create(workspace=workspace, user=user, role=role)
    return user


def make_host(**fields: Any) -> Host:
    now = timezone.now()
    return Host.objects.create(
        **{
            "id": f"host{next(_numbers)}",
            "incarnation": 1,
            "lease_until": now + timedelta(hours=1),
            "heartbeat_at": now,
            "started_at": now,
            "drivers": ["simulator"],
            **fields,
        }
    )


def make_device(workspace: Workspace, *, linked: bool = True, **fields: Any) -> Device:
    number = next(_numbers)
    if linked:
        fields = {"phone": f"+6011{number:08d}", "state": DeviceState.ONLINE, **fields}
    return Device.objects.create(workspace=workspace, **{"name": f"Device {number}", **fields})


def new_contact(workspace: Workspace, **fields: Any) -> Contact:
    """Not saved yet: for those who make many at once."""
    number = next(_numbers)
    return Contact(
        workspace=workspace,
        **{
            "phone": f"+6012{number:07d}",
            "name": f"Person {number}",
            "consent_source": "Sign-up form",
            **fields,
        },
    )


def make_contact(workspace: Workspace, *, tags: tuple[str, ...] = (), **fields: Any) -> Contact:
    contact = new_contact(workspace, **fields)
    contact.save(force_insert=True)
    for name in tags:
        tag, _ = Tag.objects.get_or_create(workspace=workspace, name=name)
        ContactTag.objects.create(workspace=workspace, contact=contact, tag=tag)
    return contact


def make_suppression(workspace: Workspace, **fields: Any) -> Suppression:
    made = {"phone": f"+6013{next(_numbers):07d}", "source": SuppressionSource.PERSON, **fields}
    suppression = Suppression.objects.create(workspace=workspace, **made)
    suppression.refresh_from_db()
    return suppression


def make_segment(workspace: Workspace, *rules: dict[str, Any], **fields: Any) -> Segment:
    """Customers, unless it is told what else."""
    rules = rules or ({"what": "status", "is": "is", "value": "customer"},)
    return Segment.objects.create(
        workspace=workspace,
        **{"name": f"Segment {next(_numbers)}", "conditions": {"match": "all", "rules": list(rules)}, **fields},
    )


def make_campaign(
    workspace: Workspace,
    *,
    text: str = "Hello {{ name }}",
    media: Media | None = None,
    devices: tuple[Device, ...] = (),
    **fields: Any,
) -> Campaign:
    content = Content.objects.create(workspace=workspace, text=text, media=media)
    campaign = Campaign.objects.create(
        workspace=workspace,
        content=content,
        **{"name": f"Campaign {next(_numbers)}", "everyone": True, "state": CampaignState.DRAFT, **fields},
    )
    for device in devices:
        CampaignDevice.objects.create(workspace=workspace, campaign=campaign, device=device)
    return campaign


def make_picture(size: tuple[int, int] = (60, 40), colour: str = "teal", format: str = "JPEG") -> bytes:
    picture = BytesIO()
    Image.new("RGB", size, colour).save(picture, format)
    return picture.getvalue()


def make_media(workspace: Workspace, data: bytes | None = None, name: str = "") -> Media:
    """As if somebody had uploaded it; without data a picture of its own."""
    number = next(_numbers)
    data = data or make_picture((20 + number % 1000, 20))
    return keep_file(workspace, workspace.owner, name or f"picture {number}.jpg", len(data), BytesIO(data))


def make_template(workspace: Workspace, text: str = "Hello {{ name }}", media: Media | None = None) -> Template:
    return save_template(workspace, workspace.owner, f"Template {next(_numbers)}", text, media)


def make_wall_link(workspace: Workspace, **fields: Any) -> WallLink:
    """Of Worker Status, for a day."""
    return WallLink.objects.create(
        workspace=workspace,
        **{
            "name": f"Wall {next(_numbers)}",
            "kind": "workers",
            "expires_at": timezone.now() + timedelta(days=1),
            **fields,
        },
    )


def make_import(workspace: Workspace, file: bytes | Readable, **options: Any) -> ContactImport:
    """An import that was uploaded, mapped as guessed and started; `work_on_import` does the rest."""
    stream = BytesIO(file) if isinstance(file, bytes) else file
    upload = upload_file(workspace, workspace.owner, options.pop("filename", "people.csv"), stream)
    if upload.state == ImportState.OPENING:
        work_on_import(upload.pk)
        upload.refresh_from_db()
    country = options.pop("country", workspace.default_country)
    layout = layout_of(upload)
    header = has_header(layout.first, country)
    start_import(
        upload,
        workspace.owner,
        columns=options.pop("columns", guess_columns(layout.first, header, country)),
        header=header,
        country=country,
        **{"tags": [], "consent_source": "Sign-up form", "consent_proof": "", **options},
    )
    upload.refresh_from_db()
    return upload
