"""Suppression: the one place where numbers are taken off and put back on the list of those we may write to."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.masking import mask_phones
from accounts.models import User, Workspace
from campaigns.models import Contact, Suppression

REASON_LENGTH = 200

SUPPRESS_SQL = """
INSERT INTO campaigns_suppression (workspace_id, phone, source, reason) VALUES (%s, %s, %s, %s)
ON CONFLICT (workspace_id, phone) DO NOTHING
"""


@transaction.atomic
def suppress(workspace: Workspace, phone: str, source: str, reason: str, by: User | None) -> bool:
    """Nothing is sent to this number (E.164) any more, from this commit on, whether or not it is a contact.

    ``source``: a `SuppressionSource`; ``by`` None: the person asked for it. False: the number was suppressed before.
    """
    reason = reason[:REASON_LENGTH]
    with connection.cursor() as cursor:
        cursor.execute(SUPPRESS_SQL, [workspace.pk, phone, source, reason])
        new = cursor.rowcount == 1
    agreeing = Contact.objects.for_workspace(workspace).filter(phone=phone, opted_out_at__isnull=True)
    marked = agreeing.update(opted_out_at=Now(), opted_out_reason=reason, updated_at=Now())
    if new or marked:
        _record(workspace, by, "contact.opted_out", phone, source=source, reason=reason)
    return new


@transaction.atomic
def unsuppress(workspace: Workspace, phone: str, reason: str, by: User) -> bool:
    """This number may be written to again, for a reason that stays in the audit. False: it was not suppressed."""
    if not reason.strip():
        raise ValueError("Taking an opt-out back needs a reason.")
    removed, _ = Suppression.objects.for_workspace(workspace).filter(phone=phone).delete()
    gone = Contact.objects.for_workspace(workspace).filter(phone=phone, opted_out_at__isnull=False)
    cleared = gone.update(opted_out_at=None, opted_out_reason="", updated_at=Now())
    if not removed and not cleared:
        return False
    _record(workspace, by, "contact.opt_out_taken_back", phone, reason=reason)
    return True


def suppression_of(workspace: Workspace, phone: str) -> Suppression | None:
    return Suppression.objects.for_workspace(workspace).filter(phone=phone).first()


def _record(workspace: Workspace, by: User | None, deed: str, phone: str, **detail: str) -> None:
    contact = Contact.objects.for_workspace(workspace).filter(phone=phone).only("uuid").first()
    target = f"contact:{contact.uuid}" if contact else f"number:{mask_phones(phone)}"
    record(workspace, by, deed, target, **detail)
