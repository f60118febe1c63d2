"""Planning: turns a campaign's audience into message rows, a set-based chunk at a time."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from campaigns.actions.campaigns import finish_campaigns, rouse_campaign
from campaigns.live import push_campaigns
from campaigns.models import Campaign, CampaignState, Contact, Lane, Stream

CHUNK = 20_000

PLAN_SQL = """
WITH lane AS MATERIALIZED (
    SELECT s.id AS stream_id, row_number() OVER (ORDER BY s.id) - 1 AS slot, count(*) OVER () AS lanes
    FROM (SELECT id FROM campaigns_stream WHERE campaign_id = %(campaign)s ORDER BY id FOR UPDATE) s
),
person AS MATERIALIZED (
    SELECT c.id, c.phone, row_number() OVER (ORDER BY c.id) AS n
    FROM (
        SELECT c.id, c.phone FROM campaigns_contact c
        WHERE c.workspace_id = %(workspace)s AND c.id > %(cursor)s AND c.id <= %(last)s
          AND (%(everyone)s OR EXISTS (
              SELECT FROM campaigns_contacttag ct JOIN campaigns_campaigntag t ON t.tag_id = ct.tag_id
              WHERE ct.contact_id = c.id AND t.campaign_id = %(campaign)s))
        ORDER BY c.id LIMIT %(size)s
    ) c
),
made AS (
    INSERT INTO campaigns_message (workspace_id, campaign_id, stream_id, contact_id, content_id, phone, state, due_at)
    SELECT %(workspace)s, %(campaign)s, lane.stream_id, person.id, %(content)s, person.phone, 'pending', %(due)s
    FROM person JOIN lane ON lane.slot = (%(planned)s + person.n) %% lane.lanes
    ORDER BY person.id
    ON CONFLICT (campaign_id, contact_id) DO NOTHING
    RETURNING stream_id
),
counted AS (
    UPDATE campaigns_stream s SET
        pending = s.pending + made.n,
        next_id = CASE WHEN s.next_due < %(due)s THEN s.next_id WHEN s.next_due = %(due)s THEN s.next_id ELSE 0 END,
        next_due = least(s.next_due, %(due)s)
    FROM (SELECT stream_id, count(*) AS n FROM made GROUP BY stream_id) made
    WHERE s.id = made.stream_id
)
SELECT (SELECT count(*) FROM made), (SELECT count(*) FROM person), (SELECT max(id) FROM person)
"""


def plan_chunk(campaign_id: int, size: int = CHUNK) -> bool:
    """Plan the next ``size`` people; true when nothing is left to plan.

    Progress and message rows commit together, so a plan goes on exactly where it was broken off. Planners queue up at
    the campaign's row; ``(campaign, contact)`` is unique besides.
    """
    with transaction.atomic():
        campaign = Campaign.objects.select_for_update().get(pk=campaign_id)
        if campaign.planned_at or campaign.state not in (CampaignState.RUNNING, CampaignState.PAUSED):
            return True
        if campaign.plan_last is None:
            _open_plan(campaign)
        with connection.cursor() as cursor:
            cursor.execute(
                PLAN_SQL,
                {
                    "campaign": campaign.pk,
                    "workspace": campaign.workspace_id,
                    "content": campaign.content_id,
                    "cursor": campaign.plan_cursor,
                    "last": campaign.plan_last,
                    "everyone": campaign.everyone,
                    "due": campaign.launched_at,
                    "planned": campaign.recipients,
                    "size": size,
                },
            )
            made, seen, last = cursor.fetchone()
        campaign.recipients += made
        campaign.plan_cursor = last or campaign.plan_last or 0
        done = seen < size
        Campaign.objects.filter(pk=campaign.pk).update(
            recipients=campaign.recipients,
            plan_cursor=campaign.plan_cursor,
            plan_last=campaign.plan_last,
            planned_at=Now() if done else None,
        )
        return done


def plan_whole(campaign_id: int) -> None:
    """Plan a campaign to its end; devices are roused and the page told after every chunk."""
    done = False
    while not done:
        done = plan_chunk(campaign_id)
        with transaction.atomic():
            rouse_campaign(Campaign.objects.get(pk=campaign_id))
            push_campaigns([campaign_id])
    finish_campaigns([campaign_id])


def _open_plan(campaign: Campaign) -> None:
    """Fix who may take part (nobody added later) and make a stream for each device."""

    newest = Contact.objects.for_workspace(campaign.workspace).aggregate(newest=Max("pk"))["newest"]
    campaign.plan_last = newest or 0
    for device_id in campaign.device_links.order_by("device_id").values_list("device_id", flat=True):
        Stream.objects.get_or_create(
            workspace_id=campaign.workspace_id,
            campaign=campaign,
            device_id=device_id,
            defaults={
                "lane": Lane.CAMPAIGN,
                "running": campaign.state == CampaignState.RUNNING,
                "min_delay": campaign.min_delay,
            },
        )
