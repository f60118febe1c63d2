"""What uses a tag or a custom field: counted with bounds, for pages that list many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from accounts.models import Workspace
from campaigns.fields import Field
from campaigns.models import CampaignTag, CustomField, Segment, Tag
from campaigns.segments import FIELD

COUNTED = 10_000
NAMED = 5

PEOPLE_SQL = """
SELECT t.id, (SELECT count(*) FROM (SELECT FROM campaigns_contacttag l WHERE l.tag_id = t.id LIMIT %(most)s) bounded)
FROM unnest(%(tags)s::bigint[]) AS t(id)
"""


@dataclass(frozen=True, slots=True)
class TagUse:
    """``people``: at most `COUNTED`."""

    tag: Tag
    people: int
    campaigns: int
    segments: int


@dataclass(frozen=True, slots=True)
class FieldUse:
    field: Field
    segments: int
    kept: bool


def uses_of_tags(workspace: Workspace, tags: Sequence[Tag]) -> list[TagUse]:
    ids = [tag.pk for tag in tags]
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE_SQL, {"tags": ids, "most": COUNTED})
        people = dict(cursor.fetchall())
    campaigns = Counter(CampaignTag.objects.for_workspace(workspace).filter(tag__in=ids).values_list("tag", flat=True))
    rules = _rules(workspace)
    return [TagUse(tag, people[tag.pk], campaigns[tag.pk], rules["tag", tag.name]) for tag in tags]


@dataclass(frozen=True, slots=True)
class Naming:
    """What names a tag. ``people``: at most `COUNTED`; ``to_come``: campaigns that were not sent; the names: a few."""

    people: int
    to_come: Sequence[str]
    more_to_come: int
    ended: int
    segments: Sequence[str]
    more_segments: int


def use_of_tag(tag: Tag) -> Naming:
    links = CampaignTag.objects.filter(tag=tag)
    unplanned = links.filter(campaign__planned_at=None).order_by("-campaign")
    to_come = list(unplanned.values_list("campaign__name", flat=True))
    asked = {"rules": [{"what": "tag", "value": tag.name}]}
    found = Segment.objects.for_workspace(tag.workspace).filter(conditions__contains=asked).order_by("name")
    segments = list(found.values_list("name", flat=True))
    return Naming(
        tag.contact_links.all()[:COUNTED].count(),
        to_come[:NAMED],
        max(0, len(to_come) - NAMED),
        links.count() - len(to_come),
        segments[:NAMED],
        max(0, len(segments) - NAMED),
    )


def uses_of_fields(workspace: Workspace, fields: Sequence[Field]) -> list[FieldUse]:
    kept = set(CustomField.objects.for_workspace(workspace).values_list("name", flat=True))
    rules = _rules(workspace)
    return [FieldUse(field, rules[f"{FIELD}{field.name}", ""], field.name in kept) for field in fields]


def _rules(workspace: Workspace) -> Counter[tuple[str, str]]:
    """(what, the tag's name where it is one) → how many segments ask for it."""
    found: Counter[tuple[str, str]] = Counter()
    for conditions in Segment.objects.for_workspace(workspace).values_list("conditions", flat=True):
        rules = conditions.get("rules", [])
        found.update({(rule["what"], rule["value"] if rule["what"] == "tag" else "") for rule in rules})
    return found
