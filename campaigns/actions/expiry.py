"""Expiry: what a campaign could not send in time is not sent at all, and says so."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models.functions import Now

from campaigns.live import push_campaigns
from campaigns.models import Stream
from campaigns.querysets.campaigns import StreamQuerySet

# The stream is locked by `_expire`, so that nothing of it is claimed or settled while this runs.
EXPIRE_SQL = """
WITH moved AS (
    UPDATE campaigns_message SET state = 'expired', reason = 'too_late'
    WHERE stream_id = %(stream)s AND state IN ('pending', 'waiting')
    RETURNING id
)
UPDATE campaigns_stream SET
    pending = 0, waiting = 0, expired = expired + (SELECT count(*) FROM moved), next_due = NULL, next_id = 0
WHERE id = %(stream)s
RETURNING (SELECT count(*) FROM moved)
"""


def expire_overdue() -> int:
    """Messages that have not begun to leave when their stream's time is over expire; returns how many.

    Of paused campaigns, too. A stream is a transaction: what else the campaign does waits for no more than one.
    """
    expired = 0
    campaigns = set()
    for pk, campaign in _overdue().order_by("pk").values_list("pk", "campaign_id"):
        with transaction.atomic():
            expired += _expire(pk)
        campaigns.add(campaign)
    push_campaigns(campaign for campaign in campaigns if campaign is not None)
    return expired


def _overdue() -> StreamQuerySet:
    return Stream.objects.unsent().filter(expires_at__lte=Now())


def _expire(stream: int) -> int:
    """Somebody else may have been faster: then there is nothing left to do."""
    if not list(_overdue().filter(pk=stream).select_for_update(no_key=True).values_list("pk")):
        return 0
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE_SQL, {"stream": stream})
        count: int = cursor.fetchone()[0]
    return count
