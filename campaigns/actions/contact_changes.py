"""Changing many contacts at once: tag, untag, merge, field, status, device, delete; in steps, so nobody waits long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.text import Truncator

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.actions import in_steps
from campaigns.actions.merging import Gone, hindrance, lock_pair, merge_tags, pair_of
from campaigns.actions.segments import InUse
from campaigns.contact_filters import Filters, NotThere
from campaigns.live import push_campaigns
from campaigns.models import Contact, ContactChange, ContactTag, Deed, Tag
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.segments import BadConditions
from devices.models import Device

CHANGE_JOB = "campaigns.jobs.contacts.change_contacts"
EVERYBODY = 2**63 - 1  # also whoever comes later
ERROR_LENGTH = 200

# By their ids, as imports give tags: these do not lock people of whom nothing else changes.
TAG_SQL = """
INSERT INTO campaigns_contacttag (workspace_id, contact_id, tag_id)
SELECT %(workspace)s, id, %(tag)s FROM unnest(%(people)s::bigint[]) AS these(id) ORDER BY id
ON CONFLICT (contact_id, tag_id) DO NOTHING
"""
FIELD_SQL = """
UPDATE campaigns_contact SET fields = fields || jsonb_build_object(%(name)s::text, %(value)s::text), updated_at = now()
WHERE id = ANY(%(people)s) AND jsonb_extract_path_text(fields, %(name)s) IS DISTINCT FROM %(value)s
"""
FIELD_EMPTY_SQL = """
UPDATE campaigns_contact SET fields = fields - %(name)s::text, updated_at = now()
WHERE id = ANY(%(people)s) AND jsonb_exists(fields, %(name)s)
"""
# What waits for them will never leave. Streams are locked before messages, both by id, as everywhere; also those of
# messages that may come back to waiting before their own turn to be locked.
STREAMS_SQL = """
SELECT id FROM campaigns_stream WHERE id IN (
    SELECT stream_id FROM campaigns_message WHERE contact_id = ANY(%(people)s)
    AND state IN ('pending', 'waiting', 'sending', 'dead', 'uncertain')
) ORDER BY id FOR NO KEY UPDATE
"""
FORGET_SQL = """
WITH theirs AS MATERIALIZED (
    SELECT id, stream_id, campaign_id, state, state IN ('pending', 'waiting') AND NOT confirms_stop AS waits
    FROM campaigns_message WHERE contact_id = ANY(%(people)s) ORDER BY id FOR UPDATE
),
moved AS (
    UPDATE campaigns_message m SET
        contact_id = NULL,
        state = CASE WHEN t.waits THEN 'skipped' ELSE m.state END,
        reason = CASE WHEN t.waits THEN 'contact_deleted' ELSE m.reason END
    FROM theirs t WHERE m.id = t.id
    RETURNING t.stream_id, t.campaign_id, t.state AS was, t.waits
),
counted AS (
    SELECT stream_id, campaign_id, count(*) FILTER (WHERE was = 'pending') AS pending,
           count(*) FILTER (WHERE was = 'waiting') AS waiting
    FROM moved WHERE waits GROUP BY stream_id, campaign_id
)
UPDATE campaigns_stream s SET
    pending = s.pending - n.pending, waiting = s.waiting - n.waiting, skipped = s.skipped + n.pending + n.waiting
FROM counted n WHERE s.id = n.stream_id
RETURNING n.campaign_id
"""


def selected(workspace: Workspace, selection: dict[str, Any]) -> ContactQuerySet:
    """The people a selection means now: ``{"uuids": […]}`` or ``{"query": …}``. Raises NotThere, BadConditions."""
    if "uuids" in selection:
        return Contact.objects.for_workspace(workspace).filter(uuid__in=selection["uuids"])
    return Filters(workspace, selection["query"]).contacts().order_by()


@transaction.atomic
def start_change(
    workspace: Workspace, by: User, deed: str, selection: dict[str, Any], name: str = "", value: str = ""
) -> ContactChange:
    """Do ``deed`` to everybody selected: a few people at once, many in a job.

    ``name``: of the tag or field; ``value``: of the field (empty takes it away), the status, or the device's UUID
    (empty: none). A tag that is not there yet is made.
    """
    people = selected(workspace, selection)
    if deed == Deed.TAG:
        Tag.objects.bulk_create([Tag(workspace=workspace, name=name)], ignore_conflicts=True)
    last = Contact.objects.for_workspace(workspace).aggregate(last=Max("pk"))["last"] or 0
    change = ContactChange(workspace=workspace, created_by=by, deed=deed, name=name, value=value, selection=selection)
    change.up_to, change.expected = last, people.filter(pk__lte=last).count()
    _note(change)
    in_steps.start(change_step, change.pk, CHANGE_JOB, change.expected)
    change.refresh_from_db()
    return change


def start_merge(source: Tag, target: Tag, by: User) -> ContactChange:
    """Join ``source`` to ``target``: people get the one in steps, few at once and many in a job, and keep the other.

    `merge_tags` ends it, and takes the other away. Raises Gone, and InUse where that would turn a meaning over.
    """
    with transaction.atomic():
        # Of two who want one of them at the same time, the second one finds the change of the first.
        source, target = lock_pair(source, target)
        if why := hindrance(source, target):
            raise InUse(why)
        asked = {"query": {"tag": source.name}}
        change = ContactChange(workspace=source.workspace, created_by=by, deed=Deed.MERGE, selection=asked)
        change.name, change.value = target.name, source.name
        change.up_to, change.expected = EVERYBODY, source.contact_links.count()
        _note(change)
    in_steps.start(change_step, change.pk, CHANGE_JOB, change.expected)
    change.refresh_from_db()
    return change


def _note(change: ContactChange) -> None:
    change.save()
    people, by = change.expected, change.created_by
    record(change.workspace, by, f"contacts.{change.deed}", change.target, people=people, **_told(change))


def _told(change: ContactChange) -> dict[str, str]:
    """For the ledger: no values of fields, which may be anything about a person."""
    told = {"name": change.name} if change.name else {}
    if change.deed in (Deed.STATUS, Deed.DEVICE, Deed.MERGE):
        told["value"] = change.value
    return told


def work_on_change(change_id: int) -> None:
    in_steps.go_on(change_step, change_id, CHANGE_JOB)


def resume_stalled_changes() -> int:
    return in_steps.resume_stalled(ContactChange.objects.all(), CHANGE_JOB)


@transaction.atomic
def change_step(change_id: int, size: int = in_steps.STEP) -> bool:
    """Change the next ``size`` people, by number; true when nobody is left."""
    found = ContactChange.objects.select_for_update(of=("self",)).filter(pk=change_id, finished_at__isnull=True)
    change = found.select_related("workspace", "created_by").first()
    if change is None:
        return True
    try:
        if change.deed == Deed.MERGE:
            done = _merge(change, size)
        else:
            people = _lock_people(change, size)
            if people:
                change.changed += DEEDS[Deed(change.deed)](change, [pk for pk, _phone in people])
                change.people += len(people)
                change.last_phone = people[-1][1]
            done = len(people) < size
    except (NotThere, BadConditions, Gone, InUse) as problem:
        said = str(problem) or "The segment or import it was about is gone."
        change.error, done = Truncator(said).chars(ERROR_LENGTH), True
    change.heartbeat_at = Now()
    if done:
        change.finished_at = Now()
        told = {"people": change.people, "changed": change.changed, "error": change.error}
        record(change.workspace, change.created_by, f"contacts.{change.deed}_done", change.target, **told)
    change.save()
    return done


def _lock_people(change: ContactChange, size: int) -> list[tuple[int, str]]:
    """The next people's (id, number), locked by number, on from the last one: who was changed may match no more."""
    chosen = selected(change.workspace, change.selection).values("pk")
    people = Contact.objects.for_workspace(change.workspace).filter(
        pk__in=chosen, pk__lte=change.up_to, phone__gt=change.last_phone
    )
    deletes = change.deed == Deed.DELETE
    locked = people.order_by("phone").select_for_update(no_key=not deletes)
    return list(locked.values_list("pk", "phone")[:size])


def _merge(change: ContactChange, size: int) -> bool:
    """Give the tag that stays to the next people who have the one that goes, the newest first; or end the merge.

    By their ids, so that a step reads off the index of the links whom it is about, however many there are.
    """
    source, _target = pair_of(change)
    links = ContactTag.objects.for_workspace(change.workspace).filter(tag=source, contact__lte=change.up_to)
    people = list(links.order_by("-contact").values_list("contact", flat=True)[:size])
    if not people:
        return merge_tags(change)
    locked = Contact.objects.filter(pk__in=people).order_by("phone").select_for_update(no_key=True)
    change.changed += _tag(change, list(locked.values_list("pk", flat=True)))
    change.people = min(change.people + len(people), change.expected)
    change.up_to = people[-1] - 1
    return False


def _execute(sql: str, **values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount


def _tag(change: ContactChange, people: Sequence[int]) -> int:
    return _execute(TAG_SQL, workspace=change.workspace_id, tag=_tag_of(change), people=list(people))


def _untag(change: ContactChange, people: Sequence[int]) -> int:
    links = ContactTag.objects.for_workspace(change.workspace).filter(tag=_tag_of(change), contact__in=people)
    had = list(links.values_list("contact", flat=True))
    Contact.objects.filter(pk__in=had).update(updated_at=Now())  # nothing else would tell the undo of an import
    return links.delete()[0]


def _tag_of(change: ContactChange) -> int:
    tag = Tag.objects.for_workspace(change.workspace).filter(name=change.name).first()
    if tag is None:
        raise Gone(f"The tag “{change.name}” was deleted meanwhile.")
    return tag.pk


def _set_field(change: ContactChange, people: Sequence[int]) -> int:
    sql = FIELD_SQL if change.value else FIELD_EMPTY_SQL
    return _execute(sql, name=change.name, value=change.value, people=list(people))


def _set_status(change: ContactChange, people: Sequence[int]) -> int:
    others = Contact.objects.filter(pk__in=people).exclude(status=change.value)
    return others.update(status=change.value, updated_at=Now())


def _set_device(change: ContactChange, people: Sequence[int]) -> int:
    device = None
    if change.value:
        device = Device.objects.for_workspace(change.workspace).filter(uuid=change.value).first()
        if device is None:
            raise Gone("The device was removed meanwhile.")
    others = Contact.objects.filter(pk__in=people).exclude(device=device)
    return others.update(device=device, updated_at=Now())


def _delete(change: ContactChange, people: Sequence[int]) -> int:
    return forget(people)


def forget(people: Sequence[int]) -> int:
    """Delete these contacts (ids, locked by number). Their messages, replies, consent and suppressions stay.

    What waits for them is skipped. Returns how many are gone.
    """
    with connection.cursor() as cursor:
        cursor.execute(STREAMS_SQL, {"people": list(people)})
        cursor.execute(FORGET_SQL, {"people": list(people)})
        campaigns = {campaign for (campaign,) in cursor.fetchall() if campaign}
    gone = Contact.objects.filter(pk__in=people).delete()[1].get(Contact._meta.label, 0)
    if campaigns:
        push_campaigns(campaigns)
    return gone


DEEDS = {
    Deed.TAG: _tag,
    Deed.UNTAG: _untag,
    Deed.FIELD: _set_field,
    Deed.STATUS: _set_status,
    Deed.DEVICE: _set_device,
    Deed.DELETE: _delete,
}
