"""Erasing a person: who they were goes, that something was sent stays, so that every figure is what it was."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.engine.lifecycle import CLAIMABLE
from campaigns.erasures import digest, digests
from campaigns.live import push_campaigns
from campaigns.models import (
    Campaign,
    CampaignState,
    CheckRun,
    ConsentEntry,
    Contact,
    ContactImport,
    ContactMove,
    Erasure,
    ImportState,
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


def is_erased(workspace: Workspace, phone: str) -> bool:
    """Somebody with this number (E.164) was erased here: nobody may bring them back."""
    return Erasure.objects.for_workspace(workspace).filter(digest__in=digests(phone)).exists()


@transaction.atomic
def erase_contact(contact: Contact, by: User) -> bool:
    """Forget a person for good: all that names them or that they wrote.

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
    _forget_places(workspace, phone)
    Contact.objects.filter(pk=contact.pk).delete()
    Erasure.objects.bulk_create(
        [Erasure(workspace=workspace, digest=digest(phone), created_by=by)], ignore_conflicts=True
    )
    detail = {"messages": messages, "cancelled": cancelled}
    record(workspace, by, "contact.erased", f"contact:{contact.uuid}", **detail)
    return True


def _lock(contact: Contact) -> bool:
    """In the order of everywhere: campaigns, the person as `suppress` does, streams. False: somebody was faster."""
    theirs = Q(contact=contact) | Q(contact=None, phone=contact.phone)
    messages = Message.objects.for_workspace(contact.workspace).filter(theirs)
    planned = messages.filter(state__in=CLAIMABLE).values("campaign")
    campaigns = Campaign.objects.filter(pk__in=planned, state__in=(CampaignState.RUNNING, CampaignState.PAUSED))
    list(campaigns.order_by("pk").select_for_update().values_list("pk"))
    suppressed = Suppression.objects.for_workspace(contact.workspace).filter(phone=contact.phone)
    list(suppressed.select_for_update().values_list("pk"))
    if not Contact.objects.filter(pk=contact.pk).select_for_update().values_list("pk"):
        return False
    streams = Stream.objects.filter(pk__in=messages.values("stream")).order_by("pk")
    list(streams.select_for_update(no_key=True).values_list("pk"))
    return True


def _forget_places(workspace: Workspace, phone: str) -> None:
    """Work that ended with this number remembers how far it came."""
    ended = (ImportState.DONE, ImportState.FAILED, ImportState.STOPPED)
    ContactImport.objects.filter(workspace=workspace, saved_up_to=phone, state__in=ended).update(saved_up_to="")
    for work in (ContactMove, CheckRun):
        work.objects.filter(workspace=workspace, last_phone=phone, finished_at__isnull=False).update(last_phone="")
