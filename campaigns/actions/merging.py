"""Joining two tags that mean the same."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from campaigns.actions.segments import InUse, named, segments_about
from campaigns.models import (
    UNFINISHED,
    Campaign,
    CampaignState,
    CampaignTag,
    CheckRun,
    ContactChange,
    ContactImport,
    Deed,
    ImportState,
    Segment,
    Tag,
)
from campaigns.querysets.tags import give_to_people_of

UNREAD = (ImportState.OPENING, ImportState.UPLOADED, ImportState.QUEUED, ImportState.RUNNING)


class Gone(Exception):
    """One of the two is no longer there."""


def merge_tags(source: Tag, target: Tag, by: User) -> int:
    """Whoever has ``source`` has ``target`` instead, and all that named it means ``target``; returns how many had it.

    Raises Gone, and InUse where that would turn a meaning over: see `hindrance`.
    """
    with transaction.atomic():
        pair = Tag.objects.filter(pk__in=[source.pk, target.pk]).order_by("pk").select_for_update()
        found = {tag.pk: tag for tag in pair}
        if len(found) < 2:
            raise Gone
        source, target = found[source.pk], found[target.pk]
        if why := hindrance(source, target):
            raise InUse(why)
        people = source.contact_links.count()
        new = give_to_people_of(source.pk, target.pk)
        segments = rename_in_segments(source, target)
        campaigns = move_campaigns(source, target)
        rename_in_imports(source, target)
        CheckRun.objects.filter(tag=source).update(tag=target)
        told = {"people": people, "new": new, "segments": segments, "campaigns": campaigns}
        record(target.workspace, by, "tag.merged", f"tag:{target.pk}", old=source.name, name=target.name, **told)
        source.delete()
    return people


def hindrance(source: Tag, target: Tag) -> str:
    """What keeps the two from being joined; empty: nothing.

    Where one of them is wanted and the other one is not, nobody or everybody would be meant afterwards.
    """
    both = {source.pk, target.pk}
    if torn := list(torn_between(source, target).values_list("name", flat=True)[:4]):
        return f"one of them is addressed and the other one left out by {named('campaign', torn)}"
    unplanned = campaigns_of(both).filter(state__in=(CampaignState.RUNNING, CampaignState.PAUSED), planned_at=None)
    if names := list(unplanned.values_list("name", flat=True)[:4]):
        return f"people are being found by them for {named('campaign', names)}"
    if segments := [segment.name for segment in segments_about_both(source, target)]:
        return f"one of them is asked for and the other one ruled out by {named('segment', segments)}"
    changes = ContactChange.objects.for_workspace(source.workspace).filter(
        finished_at=None, deed__in=(Deed.TAG, Deed.UNTAG), name__in=(source.name, target.name)
    )
    return "a change of many people is under way with them" if changes.exists() else ""


def campaigns_of(tags: set[int]) -> QuerySet[Campaign]:
    return Campaign.objects.filter(pk__in=CampaignTag.objects.filter(tag__in=tags).values("campaign")).order_by("-pk")


def torn_between(source: Tag, target: Tag) -> QuerySet[Campaign]:
    """Campaigns to come that address one and leave out the other."""
    ends = Q(tag_links__tag__in=(source.pk, target.pk))
    found = Campaign.objects.for_workspace(source.workspace).filter(state__in=UNFINISHED).filter(ends)
    counted = found.annotate(links=Count("tag_links"), out=Count("tag_links", filter=Q(tag_links__excluded=True)))
    return counted.filter(links=2, out=1).order_by("-pk")


def segments_about_both(source: Tag, target: Tag) -> list[Segment]:
    """Those with opposite conditions on the two."""
    also = {segment.pk for segment in segments_about(target.workspace, "tag", target.name)}
    found = []
    for segment in segments_about(source.workspace, "tag", source.name):
        if segment.pk in also:
            rules = [rule for rule in segment.conditions["rules"] if rule["what"] == "tag"]
            asked = {rule["is"] for rule in rules if rule["value"] in (source.name, target.name)}
            if len(asked) > 1:
                found.append(segment)
    return found


def rename_in_segments(source: Tag, target: Tag) -> int:
    """A condition that then stands there twice is left once."""
    segments = segments_about(source.workspace, "tag", source.name)
    for segment in segments:
        rules = []
        for rule in segment.conditions["rules"]:
            if rule["what"] == "tag" and rule["value"] == source.name:
                rule = {**rule, "value": target.name}
            if rule not in rules:
                rules.append(rule)
        segment.conditions = {**segment.conditions, "rules": rules}
        segment.updated_at = Now()
        segment.save(update_fields=["conditions", "updated_at"])
    return len(segments)


def move_campaigns(source: Tag, target: Tag) -> int:
    """Ended ones too: whom they were for stays explained. One that has both keeps how it has the other."""
    links = CampaignTag.objects.filter(tag=source)
    having = CampaignTag.objects.filter(tag=target).values("campaign")
    count = links.count()
    links.exclude(campaign__in=having).update(tag=target)
    return count


def rename_in_imports(source: Tag, target: Tag) -> None:
    """Of those that are not done: they would make it anew. The rows of a file name what they name."""
    waiting = ContactImport.objects.for_workspace(source.workspace).filter(tags__contains=[source.name])
    for contact_import in waiting.filter(Q(state__in=UNREAD) | Q(dry_run=True)).order_by("pk"):
        names = [target.name if name == source.name else name for name in contact_import.tags]
        ContactImport.objects.filter(pk=contact_import.pk).update(tags=list(dict.fromkeys(names)))
