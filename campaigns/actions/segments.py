"""What people do with segments: save, change and delete them."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, RestrictedError
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import Campaign, Segment
from campaigns.segments import check


class NameTaken(Exception):
    """Another one of the workspace is called so."""


class InUse(Exception):
    """Campaigns or segments need it; its text says which."""


def save_segment(
    workspace: Workspace, by: User, name: str, conditions: dict[str, Any], segment: Segment | None = None
) -> Segment:
    """A new one, or these changes of ``segment``. Raises NameTaken, BadConditions."""
    check(workspace, conditions)
    new = segment is None
    saved = segment or Segment(workspace=workspace, created_by=by)
    saved.name, saved.conditions, saved.updated_at = name, conditions, Now()
    try:
        with transaction.atomic():
            saved.save()
            record(workspace, by, "segment.made" if new else "segment.changed", f"segment:{saved.uuid}", name=name)
    except IntegrityError:
        raise NameTaken from None
    saved.refresh_from_db()
    return saved


def delete_segment(segment: Segment, by: User) -> None:
    """Raises InUse while a campaign addresses or excludes it, ended ones too: their audience stays explained."""
    try:
        with transaction.atomic():
            record(segment.workspace, by, "segment.deleted", f"segment:{segment.uuid}", name=segment.name)
            segment.delete()
    except RestrictedError:
        campaigns = Campaign.objects.filter(pk__in=segment.campaign_links.values("campaign")).order_by("-pk")
        raise InUse(named("campaign", list(campaigns.values_list("name", flat=True)[:4]))) from None


def named(noun: str, names: list[str]) -> str:
    """``the campaign “Autumn”``; of many the first three."""
    quoted = ", ".join(f"“{name}”" for name in names[:3]) + (" and others" if len(names) > 3 else "")
    return f"the {noun}{'' if len(names) == 1 else 's'} {quoted}"


def segments_about(workspace: Workspace, what: str, value: str | None = None) -> list[Segment]:
    """Those with a condition on this tag (``what`` tag, by its name as ``value``) or on this field."""
    rule = {"what": what} | ({} if value is None else {"value": value})
    asked = Q(conditions__contains={"rules": [rule]})
    return list(Segment.objects.for_workspace(workspace).filter(asked).order_by("name"))
