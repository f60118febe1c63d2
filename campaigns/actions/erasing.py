"""Erasing a person: who they were goes, that something was sent stays, so that every figure is what it was."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.audit import record
from accounts.models import User, Workspace
from accounts.phones import national_digits
from campaigns.engine.lifecycle import CLAIMABLE
from campaigns.erasures import begin_erasing, digest, digests
from campaigns.live import push_campaigns
from campaigns.models import (
    OPEN,
    Campaign,
    CheckRun,
    ConsentEntry,
    Contact,
    ContactImport,
    ContactMove,
    Erasure,
    ImportRow,
    Message,
    NumberCheck,
    Reply,
    Stream,
    Suppression,
)

# Whose contact was deleted before goes by the number: both are looked up by the index of contacts.
# The streams are locked, so that nothing of them is claimed or settled meanwhile.
CANCEL_SQL = """
WITH old AS MATERIALIZED (
    SELECT m.id, m.state AS was, m.campaign_id FROM campaigns_message m
    WHERE m.workspace_id = %(workspace)s
      AND (m.contact_id = %(contact)s OR (m.contact_id IS NULL AND m.phone = %(phone)s))
    ORDER BY m.id FOR UPDATE
),
moved AS (
    UPDATE campaigns_message m SET state = 'cancelled', reason = 'erased'
    FROM old WHERE m.id = old.id AND old.was IN ('pending', 'waiting')
    RETURNING m.stream_id, m.campaign_id, old.was
),
counted AS (
    UPDATE campaigns_stream s SET
        pending = s.pending - n.pending,
        waiting = s.waiting - n.waiting,
        cancelled = s.cancelled + n.pending + n.waiting
    FROM (
        SELECT stream_id, count(*) FILTER (WHERE was = 'pending') AS pending,
               count(*) FILTER (WHERE was = 'waiting') AS waiting
        FROM moved GROUP BY stream_id
    ) n
    WHERE s.id = n.stream_id
)
SELECT (SELECT count(*) FROM old WHERE was = 'sending'), (SELECT count(*) FROM moved),
       ARRAY(SELECT DISTINCT campaign_id FROM moved WHERE campaign_id IS NOT NULL)
"""

# The content of a single message was written for this person alone.
FORGET_SQL = """
WITH forgotten AS (
    UPDATE campaigns_message m SET contact_id = NULL, phone = '', chat = NULL, text = NULL
    WHERE m.workspace_id = %(workspace)s
      AND (m.contact_id = %(contact)s OR (m.contact_id IS NULL AND m.phone = %(phone)s))
    RETURNING m.id, m.campaign_id, m.content_id
),
doubts AS (
    UPDATE campaigns_uncertain u SET phone = '' FROM forgotten WHERE u.message_id = forgotten.id
),
contents AS (
    UPDATE campaigns_content c SET text = '' FROM forgotten WHERE c.id = forgotten.content_id
      AND forgotten.campaign_id IS NULL
)
SELECT count(*) FROM forgotten
"""

# What imports keep of them, for each import by its own index: a row that is still to be saved, or says that they had
# opted out. Whether it was saved goes by the place that the import has come to, which may be this very number.
IMPORT_ROWS_SQL = """
WITH own AS MATERIALIZED (
    SELECT id, dry_run, saved_up_to FROM campaigns_contactimport WHERE workspace_id = %(workspace)s
),
forgotten AS (
    DELETE FROM campaigns_importrow r USING own
    WHERE r.contact_import_id = own.id AND r.phone = %(phone)s
    RETURNING own.id, own.dry_run, r.phone <= own.saved_up_to AS saved
)
UPDATE campaigns_contactimport i SET
    contacts = i.contacts - (NOT f.saved)::int,
    kept_out = i.kept_out - (f.saved AND NOT f.dry_run)::int
FROM forgotten f WHERE i.id = f.id
"""
REJECTS_SQL = """
WITH newest AS MATERIALIZED (
    SELECT r.id, r.cells
    FROM (SELECT id FROM campaigns_contactimport WHERE workspace_id = %(workspace)s ORDER BY id DESC) i
    CROSS JOIN LATERAL (SELECT id, cells FROM campaigns_importreject WHERE contact_import_id = i.id) r
    LIMIT %(most)s
)
UPDATE campaigns_importreject r SET cells = '[]', reason = %(reason)s
FROM newest n WHERE r.id = n.id AND n.cells::text ~ %(number)s
"""
BETWEEN_DIGITS = r"\D{0,3}"  # between two cells there are four characters
REJECTS_LOOKED_AT = 100_000
ROW_OF_ERASED = "It was about a person who was erased since"  # what it said before may quote a cell


def is_erased(workspace: Workspace, phone: str) -> bool:
    """Somebody with this number (E.164) was erased here: nobody may bring them back."""
    return Erasure.objects.for_workspace(workspace).filter(digest__in=digests(phone)).exists()


@transaction.atomic
def erase_contact(contact: Contact, by: User) -> bool:
    """Forget a person for good: all that names them or that they wrote.

    Refused rows of imports are emptied where the number's digits stand in a cell, with three signs at most between any
    two: among the newest `REJECTS_LOOKED_AT` of the workspace. Not found are refused rows without the number. The
    uploaded file stays until its import has ended, of a dry run for two days; who is read there again is refused.

    False: a message to them is leaving at this moment, and its text would come back with its answer. What waits for
    them is cancelled even so; ask again when it has left.
    """
    workspace, phone = contact.workspace, contact.phone
    if not _lock(contact):
        return True
    values: dict[str, Any] = {"workspace": workspace.pk, "contact": contact.pk, "phone": phone}
    with connection.cursor() as cursor:
        cursor.execute(CANCEL_SQL, values)
        leaving, cancelled, campaigns = cursor.fetchone()
        push_campaigns(campaigns)
        if leaving:
            return False
        cursor.execute(FORGET_SQL, values)
        messages: int = cursor.fetchone()[0]
    theirs = Q(contact=contact) | Q(contact=None, phone=phone)
    Reply.objects.for_workspace(workspace).filter(theirs).update(contact=None, phone="", chat="", text="")
    ConsentEntry.objects.for_workspace(workspace).filter(theirs).update(contact=None, phone="")
    Suppression.objects.for_workspace(workspace).filter(phone=phone).delete()
    NumberCheck.objects.for_workspace(workspace).filter(phone=phone).delete()
    _forget_imports(workspace, phone)
    _forget_places(workspace, phone)
    Contact.objects.filter(pk=contact.pk).delete()
    Erasure.objects.bulk_create(
        [Erasure(workspace=workspace, digest=digest(phone), created_by=by)], ignore_conflicts=True
    )
    detail = {"messages": messages, "cancelled": cancelled}
    record(workspace, by, "contact.erased", f"contact:{contact.uuid}", **detail)
    return True


def _lock(contact: Contact) -> bool:
    """In the order of everywhere: imports, campaigns, the person as `suppress` does, streams.

    Waits for a step of an import, which has saved them by then, or knows at its next step that they were erased.
    False: somebody was faster.
    """
    begin_erasing(contact.workspace.pk)
    imports = ContactImport.objects.filter(workspace=contact.workspace)
    list(imports.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    theirs = Q(contact=contact) | Q(contact=None, phone=contact.phone)
    messages = Message.objects.for_workspace(contact.workspace).filter(theirs)
    planned = messages.filter(state__in=CLAIMABLE).values("campaign")
    campaigns = Campaign.objects.filter(pk__in=planned, state__in=OPEN)
    list(campaigns.order_by("pk").select_for_update().values_list("pk"))
    suppressed = Suppression.objects.for_workspace(contact.workspace).filter(phone=contact.phone)
    list(suppressed.select_for_update().values_list("pk"))
    if not Contact.objects.filter(pk=contact.pk).select_for_update().values_list("pk"):
        return False
    Stream.objects.filter(pk__in=messages.values("stream")).lock()
    return True


def _forget_imports(workspace: Workspace, phone: str) -> None:
    values: dict[str, Any] = {"workspace": workspace.pk, "phone": phone}
    number = BETWEEN_DIGITS.join(national_digits(phone))
    values |= {"number": number, "most": REJECTS_LOOKED_AT, "reason": ROW_OF_ERASED}
    with connection.cursor() as cursor:
        cursor.execute(IMPORT_ROWS_SQL, values)
        cursor.execute(REJECTS_SQL, values)


def _forget_places(workspace: Workspace, phone: str) -> None:
    """Work that stopped at this number remembers how far it came: an import by the last row that it has left."""
    earlier = ImportRow.objects.filter(contact_import=OuterRef("pk"), phone__lt=phone).order_by("-phone")
    before = Coalesce(Subquery(earlier.values("phone")[:1]), Value(""))
    ContactImport.objects.filter(workspace=workspace, saved_up_to=phone).update(saved_up_to=before)
    for work in (ContactMove, CheckRun):
        work.objects.filter(workspace=workspace, last_phone=phone, finished_at__isnull=False).update(last_phone="")
