"""Joining two tags that mean the same."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Workspace
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
from campaigns.querysets.tags import newest_lacking

ONE_GONE = "one of the two was deleted or renamed meanwhile"
UNREAD = (ImportState.OPENING, ImportState.UPLOADED, ImportState.QUEUED, ImportState.RUNNING)


class Gone(Exception):
    """The tag or device that something is about was removed meanwhile."""


def lock_pair(source: Tag, target: Tag) -> tuple[Tag, Tag]:
    """Both as they are now, locked against other merges; people may get them meanwhile. Raises Gone."""
    tags = Tag.objects.filter(pk__in=[source.pk, target.pk]).select_related("workspace")
    found = {tag.pk: tag for tag in tags.order_by("pk").select_for_update(of=("self",), no_key=True)}
    if len(found) < 2:
        raise Gone(ONE_GONE)
    return found[source.pk], found[target.pk]


def pair_of(change: ContactChange) -> tuple[Tag, Tag]:
    """The tag that goes and the tag that stays, by their names. Raises Gone."""
    tags = Tag.objects.for_workspace(change.workspace).filter(name__in=(change.value, change.name))
    found = {tag.name: tag for tag in tags.select_related("workspace")}
    if len(found) < 2:
        raise Gone(ONE_GONE)
    return found[change.value], found[change.name]


def merge_tags(change: ContactChange) -> bool:
    """What is left of a merge once everybody has both tags: all that named the one means the other, and it goes.

    False, and nothing is done, when somebody got it meanwhile and has not the other one yet: the steps go on from them.
    No person and no link is locked or given in the transaction that has the tag for itself; an import that holds some
    may be waiting for it. Raises Gone, and InUse where that would turn a meaning over: see `hindrance`.
    """
    source, target = lock_pair(*pair_of(change))
    if why := hindrance(source, target, change):
        raise InUse(why)
    # Nobody else gives it to anybody from here on. The one that stays can be given: imports need not wait.
    Tag.objects.select_for_update().get(pk=source.pk)
    if left := newest_lacking(source.pk, target.pk):
        change.up_to = left
        return False
    change.people = source.contact_links.count()
    segments = rename_in_segments(source, target)
    campaigns = move_campaigns(source, target)
    rename_in_imports(source, target)
    CheckRun.objects.filter(tag=source).update(tag=target)
    told = {"people": change.people, "new": change.changed, "segments": segments, "campaigns": campaigns}
    by = change.created_by
    record(target.workspace, by, "tag.merged", f"tag:{target.pk}", old=source.name, name=target.name, **told)
    source.delete()
    return True


def hindrance(source: Tag, target: Tag, but: ContactChange | None = None) -> str:
    """What keeps the two from being joined, apart from the change ``but``; empty: nothing.

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
    return under_way({source.name, target.name}, source.workspace, but)


def under_way(names: set[str], workspace: Workspace, but: ContactChange | None) -> str:
    """A change of many people that gives, takes or merges a tag of these names, in words."""
    with_them = Q(deed__in=(Deed.TAG, Deed.UNTAG, Deed.MERGE), name__in=names) | Q(deed=Deed.MERGE, value__in=names)
    changes = ContactChange.objects.for_workspace(workspace).filter(with_them, finished_at=None).order_by("pk")
    change = next((change for change in changes if change != but), None)
    if change is None:
        return ""
    if change.deed == Deed.MERGE:
        return f"“{change.value}” is being merged into “{change.name}” already"
    return "a change of many people is under way with them"


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
