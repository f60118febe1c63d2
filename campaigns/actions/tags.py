"""What people do with tags and custom fields: rename, delete, give a kind."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.actions.merging import Gone
from campaigns.actions.segments import InUse, NameTaken, named, segments_about
from campaigns.models import UNFINISHED, Campaign, CustomField, Tag
from campaigns.segments import FIELD


def rename_tag(tag: Tag, name: str, by: User) -> None:
    """Its people keep it, and segments about it go on meaning it. Raises NameTaken."""
    old = tag.name
    if name == old:
        return
    tag.name = name
    try:
        with transaction.atomic():
            tag.save(update_fields=["name"])
            for segment in segments_about(tag.workspace, "tag", old):
                for rule in segment.conditions["rules"]:
                    if rule["what"] == "tag" and rule["value"] == old:
                        rule["value"] = name
                segment.updated_at = Now()
                segment.save(update_fields=["conditions", "updated_at"])
            record(tag.workspace, by, "tag.renamed", f"tag:{tag.pk}", old=old, name=name)
    except IntegrityError:
        raise NameTaken from None


@transaction.atomic
def delete_tag(tag: Tag, by: User) -> int:
    """Take it off everybody; returns how many had it.

    Raises InUse while a segment is about it or a campaign that has not ended addresses it: what they mean would change.
    Raises Gone.
    """
    if Tag.objects.select_for_update().filter(pk=tag.pk).first() is None:  # before its links, as a merge does
        raise Gone
    campaigns = Campaign.objects.filter(tag_links__tag=tag, state__in=UNFINISHED).order_by("-pk")
    if names := list(campaigns.values_list("name", flat=True)[:4]):
        raise InUse(named("campaign", names))
    if segments := segments_about(tag.workspace, "tag", tag.name):
        raise InUse(named("segment", [segment.name for segment in segments]))
    people = tag.contact_links.count()
    record(tag.workspace, by, "tag.deleted", f"tag:{tag.pk}", name=tag.name, people=people)
    tag.delete()
    return people


@transaction.atomic
def save_field(workspace: Workspace, by: User, name: str, kind: str) -> CustomField:
    """From now on the field is of this kind, new or not. What people's fields hold stays as it is written."""
    field, _made = CustomField.objects.update_or_create(workspace=workspace, name=name, defaults={"kind": kind})
    record(workspace, by, "field.saved", f"field:{field.pk}", name=name, kind=kind)
    return field


@transaction.atomic
def delete_field(field: CustomField, by: User) -> None:
    """Forget its kind; people keep its values, as text. Raises InUse while a segment asks for it."""
    if segments := segments_about(field.workspace, f"{FIELD}{field.name}"):
        raise InUse(named("segment", [segment.name for segment in segments]))
    record(field.workspace, by, "field.deleted", f"field:{field.pk}", name=field.name)
    field.delete()
