"""Making and revoking wall links."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import Campaign
from devices.models import Device
from monitoring.models import WallLink

MOST_OPEN = 50  # of a workspace


class TooManyLinks(Exception):
    """The workspace has as many open links as it may have."""


@transaction.atomic
def make_wall_link(
    workspace: Workspace,
    by: User,
    name: str,
    kind: str,
    lasts: timedelta,
    *,
    device: Device | None = None,
    campaign: Campaign | None = None,
) -> WallLink:
    """Raises `TooManyLinks`."""
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)  # links are counted and made one by one
    if WallLink.objects.for_workspace(workspace).open().count() >= MOST_OPEN:
        raise TooManyLinks
    link = WallLink.objects.create(
        workspace=workspace,
        name=name,
        kind=kind,
        device=device,
        campaign=campaign,
        created_by=by,
        expires_at=timezone.now() + lasts,
    )
    record(workspace, by, "wall.made", link.target, kind=kind, days=lasts.days)
    return link


@transaction.atomic
def revoke_wall_link(link: WallLink, by: User) -> bool:
    """False when it was revoked before."""
    if not WallLink.objects.filter(pk=link.pk, revoked_at__isnull=True).update(revoked_at=Now()):
        return False
    record(link.workspace, by, "wall.revoked", link.target)
    return True
