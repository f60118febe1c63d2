"""Finding out who is on WhatsApp: what people begin and stop, what engines take from it and what they heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import GOOD_FOR, CheckRun, Contact, Tag
from campaigns.numbers import unchecked
from campaigns.querysets.contacts import ContactQuerySet
from devices.hosting.leases import Lease

# Only devices that could send, too: a number that WhatsApp slows down asks it nothing.
OPEN_SQL = """
SELECT r.id, d.id FROM campaigns_checkrun r JOIN devices_device d ON d.workspace_id = r.workspace_id
WHERE r.finished_at IS NULL AND d.id = ANY(%(devices)s) AND d.owner_id = %(host)s AND d.state = 'online'
  AND (d.held_until IS NULL OR d.held_until <= now())
ORDER BY r.id, d.id
"""

# What is known, and not for too long, is not asked again.
NEXT_SQL = """
SELECT c.phone FROM campaigns_contact c
WHERE c.workspace_id = %(workspace)s AND c.phone > %(last)s
  AND (%(tag)s::bigint IS NULL OR EXISTS (
      SELECT FROM campaigns_contacttag l WHERE l.contact_id = c.id AND l.tag_id = %(tag)s::bigint))
  AND NOT EXISTS (
      SELECT FROM campaigns_numbercheck n
      WHERE n.workspace_id = c.workspace_id AND n.phone = c.phone AND n.checked_at > now() - %(good)s)
ORDER BY c.phone LIMIT %(size)s
"""

NOTE_SQL = """
INSERT INTO campaigns_numbercheck AS n (workspace_id, phone, on_whatsapp)
SELECT %(workspace)s, * FROM unnest(%(phones)s::text[], %(found)s::bool[])
ON CONFLICT (workspace_id, phone) DO UPDATE SET on_whatsapp = EXCLUDED.on_whatsapp, checked_at = now()
"""


class Chunk(NamedTuple):
    """Numbers that one device is to ask about, for one run."""

    run: int
    device: int
    numbers: list[str]


def those_of(workspace: Workspace, tag: Tag | None) -> ContactQuerySet:
    contacts = Contact.objects.for_workspace(workspace)
    return contacts.tagged(tag.pk) if tag else contacts


@transaction.atomic
def start_check(workspace: Workspace, by: User, tag: Tag | None = None) -> CheckRun | None:
    """Ask about everybody, or all with the tag, of whom nobody knows. None: nothing to ask, or a run is under way."""
    total = unchecked(those_of(workspace, tag)).count()
    if not total:
        return None
    try:
        with transaction.atomic():
            run = CheckRun.objects.create(workspace=workspace, tag=tag, total=total, created_by=by)
    except IntegrityError:
        return None
    record(workspace, by, "contacts.check_started", people=total, tag=tag.name if tag else "")
    return run


@transaction.atomic
def stop_check(workspace: Workspace, by: User) -> bool:
    """What was asked already may still be answered."""
    stopped = CheckRun.objects.for_workspace(workspace).filter(finished_at__isnull=True).update(finished_at=Now())
    if stopped:
        record(workspace, by, "contacts.check_stopped")
    return bool(stopped)


def next_chunks(lease: Lease, devices: Sequence[int], size: int) -> list[Chunk]:
    """For each of these devices that may ask now: the next numbers of its workspace's run, if any are left."""
    if not CheckRun.objects.filter(finished_at__isnull=True).exists():
        return []
    with connection.cursor() as cursor:
        cursor.execute(OPEN_SQL, {"devices": list(devices), "host": lease.host})
        able = cursor.fetchall()
    chunks = [Chunk(run, device, _take(run, size)) for run, device in able]
    return [chunk for chunk in chunks if chunk.numbers]


@transaction.atomic
def _take(run_id: int, size: int) -> list[str]:
    """Engines that take at once queue up at the run; one that has nothing left is finished."""
    run = CheckRun.objects.select_for_update().filter(pk=run_id, finished_at__isnull=True).first()
    if run is None:
        return []
    values: dict[str, Any] = {
        "workspace": run.workspace_id,
        "tag": run.tag_id,
        "last": run.last_phone,
        "good": GOOD_FOR,
        "size": size,
    }
    with connection.cursor() as cursor:
        cursor.execute(NEXT_SQL, values)
        numbers = [row[0] for row in cursor.fetchall()]
    if numbers:
        CheckRun.objects.filter(pk=run_id).update(asked=run.asked + len(numbers), last_phone=numbers[-1])
    else:
        CheckRun.objects.filter(pk=run_id).update(finished_at=Now())
    return numbers


@transaction.atomic
def note_numbers(run_id: int, found: Mapping[str, bool]) -> None:
    """Keep what WhatsApp answered; of what it did not answer nobody knows more than before."""
    run = CheckRun.objects.select_for_update().filter(pk=run_id).first()
    if run is None or not found:
        return
    with connection.cursor() as cursor:
        phones = sorted(found)  # two batches with the same numbers lock them in one order
        values: dict[str, Any] = {
            "workspace": run.workspace_id,
            "phones": phones,
            "found": [found[phone] for phone in phones],
        }
        cursor.execute(NOTE_SQL, values)
    absent = sum(not there for there in found.values())
    CheckRun.objects.filter(pk=run_id).update(answered=run.answered + len(found), absent=run.absent + absent)
