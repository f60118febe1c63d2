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
