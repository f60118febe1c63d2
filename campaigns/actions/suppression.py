"""Suppression: the one place where numbers are taken off and put back on the list of those we may write to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.masking import mask_phones
from accounts.models import User, Workspace
from campaigns.actions.consent import note_granted, note_withdrawn
from campaigns.models import Contact, GlobalSuppression, Reply, Suppression, SuppressionSource

REASON_LENGTH = 200

SUPPRESS_SQL = """
INSERT INTO campaigns_suppression (workspace_id, phone, source, reason, created_by_id) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (workspace_id, phone) DO NOTHING
"""

# By number, and each person's row after the list's, as `suppress` does for one.
SUPPRESS_MANY_SQL = """
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT phone FROM unnest(%(phones)s::text[]) AS w(phone) ORDER BY phone
),
new AS (
    INSERT INTO campaigns_suppression (workspace_id, phone, source, reason, created_by_id)
    SELECT %(workspace)s, phone, %(source)s, %(reason)s, %(by)s FROM wanted ORDER BY phone
    ON CONFLICT (workspace_id, phone) DO NOTHING
    RETURNING phone
),
agreeing AS MATERIALIZED (
    SELECT c.id, c.phone FROM campaigns_contact c
    WHERE c.workspace_id = %(workspace)s AND c.opted_out_at IS NULL
      AND c.phone = ANY(ARRAY(SELECT phone FROM wanted)) AND (SELECT count(*) FROM new) >= 0
    ORDER BY c.phone FOR NO KEY UPDATE
),
marked AS (
    UPDATE campaigns_contact c SET opted_out_at = now(), opted_out_reason = %(reason)s, updated_at = now()
    FROM agreeing a WHERE c.id = a.id
    RETURNING c.id, c.phone
),
noted AS (
    INSERT INTO campaigns_consententry (workspace_id, contact_id, phone, kind, source, proof, created_by_id)
    SELECT %(workspace)s, c.id, done.phone, 'withdrawn', %(words)s, %(reason)s, %(by)s
    FROM (SELECT phone FROM new UNION SELECT phone FROM marked) done
    LEFT JOIN campaigns_contact c ON c.workspace_id = %(workspace)s AND c.phone = done.phone
    ORDER BY done.phone
)
SELECT (SELECT count(*) FROM new), (SELECT count(*) FROM marked)
"""


@transaction.atomic
def suppress(workspace: Workspace, phone: str, source: str, reason: str, by: User | None) -> bool:
    """Nothing is sent to this number (E.164) any more, from this commit on, whether or not it is a contact.

    ``source``: a `SuppressionSource`; ``by`` None: the person asked for it. False: the number was suppressed before.
    """
    reason = reason[:REASON_LENGTH]
    with connection.cursor() as cursor:
        cursor.execute(SUPPRESS_SQL, [workspace.pk, phone, source, reason, by.pk if by else None])
        new = cursor.rowcount == 1
    agreeing = Contact.objects.for_workspace(workspace).filter(phone=phone, opted_out_at__isnull=True)
    marked = agreeing.update(opted_out_at=Now(), opted_out_reason=reason, updated_at=Now())
    if new or marked:
        contact = _contact(workspace, phone)
        note_withdrawn(workspace, phone, contact, str(SuppressionSource(source).label), reason, by)
        _record(workspace, by, "contact.opted_out", phone, contact, source=source, reason=reason)
    return new


class Suppressed(NamedTuple):
    """Of the numbers given: how many were new on the list, and how many contacts had not opted out before."""

    new: int
    contacts: int


@transaction.atomic
def suppress_many(workspace: Workspace, phones: Collection[str], reason: str, by: User) -> Suppressed:
    """Like `suppress`, for many numbers (E.164) that a member gives at once; repeats change nothing."""
    values: dict[str, Any] = {
        "workspace": workspace.pk,
        "phones": sorted(phones),
        "source": SuppressionSource.PERSON,
        "words": str(SuppressionSource.PERSON.label),
        "reason": reason[:REASON_LENGTH],
        "by": by.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(SUPPRESS_MANY_SQL, values)
        done = Suppressed(*cursor.fetchone())
    if done.new or done.contacts:
        record(workspace, by, "suppression.added", numbers=done.new, contacts=done.contacts, reason=values["reason"])
    return done


@transaction.atomic
def unsuppress(workspace: Workspace, phone: str, reason: str, by: User | None, *, consent_source: str) -> bool:
    """This number may be written to again, since the person agreed anew in the way that ``consent_source`` tells.

    Both texts stay, in the audit and in the ledger. ``by`` None: they did it themselves. False: it was not suppressed.
    """
    if not reason.strip() or not consent_source.strip():
        raise ValueError("Taking an opt-out back needs a reason and how they agreed again.")
    removed, _ = Suppression.objects.for_workspace(workspace).filter(phone=phone).delete()
    gone = Contact.objects.for_workspace(workspace).filter(phone=phone, opted_out_at__isnull=False)
    consent_source = consent_source[:REASON_LENGTH]
    agreed = {"consent_source": consent_source, "consent_at": Now(), "consent_import": None}
    cleared = gone.update(opted_out_at=None, opted_out_reason="", updated_at=Now(), **agreed)
    if not removed and not cleared:
        return False
    contact = _contact(workspace, phone)
    note_granted(workspace, phone, contact, consent_source, reason, by)
    detail = {"reason": reason, "consent_source": consent_source}
    _record(workspace, by, "contact.opt_out_taken_back", phone, contact, **detail)
    return True


def suppression_of(workspace: Workspace, phone: str) -> Suppression | None:
    return Suppression.objects.for_workspace(workspace).filter(phone=phone).first()


def suppressed_everywhere(phone: str) -> GlobalSuppression | None:
    """Staff took this number off for all workspaces. Why is theirs to know."""
    return GlobalSuppression.objects.filter(phone=phone).first()


def wrote_again(suppression: Suppression) -> Reply | None:
    """The last word of somebody who has opted out, where it came after that."""
    replies = Reply.objects.for_workspace(suppression.workspace).filter(heard_at__gt=suppression.created_at)
    contact = _contact(suppression.workspace, suppression.phone)
    # Whoever is no contact is looked for among those who are none: their index is short.
    found = replies.filter(contact=contact) if contact else replies.filter(contact=None, phone=suppression.phone)
    return found.order_by("-pk").first()


def _contact(workspace: Workspace, phone: str) -> Contact | None:
    return Contact.objects.for_workspace(workspace).filter(phone=phone).only("uuid", "workspace_id").first()


def _record(
    workspace: Workspace, by: User | None, deed: str, phone: str, contact: Contact | None, **detail: str
) -> None:
    target = f"contact:{contact.uuid}" if contact else f"number:{mask_phones(phone)}"
    record(workspace, by, deed, target, **detail)
