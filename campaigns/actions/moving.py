"""Moving: what a device has not begun to send goes over to other devices."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from accounts.audit import record
from accounts.models import User
from campaigns.actions.planning import open_streams, rooms_of
from campaigns.engine.assignment import assign
from campaigns.engine.lifecycle import CLAIMABLE
from campaigns.live import push_campaigns
from campaigns.models import OPEN, Campaign, CampaignDevice, Lane, Message, Stream
from devices.actions import target
from devices.jobs import rouse
from devices.live import push_devices
from devices.models import Device, DeviceEvent

# An attempt made here is put away under this device: epochs are those of a device and mean nothing to another one.
MOVE_SQL = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(messages)s::bigint[], %(slots)s::int[]) AS g(message_id, slot)
),
kept AS (
    INSERT INTO campaigns_attempt (workspace_id, message_id, number, device_id, tag, epoch, started_at, outcome)
    SELECT m.workspace_id, m.id, m.attempts, %(device)s, m.tag, m.epoch, m.attempted_at, m.reason
    FROM given g JOIN campaigns_message m ON m.id = g.message_id AND m.stream_id = %(stream)s
    WHERE m.state IN ('pending', 'waiting') AND m.tag IS NOT NULL
    ON CONFLICT (message_id, number) DO NOTHING
),
moved AS (
    UPDATE campaigns_message m SET
        stream_id = (%(streams)s::bigint[])[g.slot], tag = NULL, epoch = NULL, attempted_at = NULL
    FROM given g
    WHERE m.id = g.message_id AND m.stream_id = %(stream)s AND m.state IN ('pending', 'waiting')
    RETURNING m.stream_id, m.state, m.due_at
),
arrived AS (
    SELECT stream_id, count(*) FILTER (WHERE state = 'pending') AS pending,
           count(*) FILTER (WHERE state = 'waiting') AS waiting, min(due_at) AS due
    FROM moved GROUP BY stream_id
),
counted AS (
    UPDATE campaigns_stream s SET
        pending = s.pending + a.pending,
        waiting = s.waiting + a.waiting,
        next_id = CASE WHEN s.next_due < a.due THEN s.next_id ELSE 0 END,
        next_due = least(s.next_due, a.due)
    FROM arrived a WHERE s.id = a.stream_id
)
UPDATE campaigns_stream s SET
    pending = s.pending - a.pending,
    waiting = s.waiting - a.waiting,
    next_due = CASE WHEN s.pending + s.waiting > a.pending + a.waiting THEN s.next_due END
FROM (SELECT coalesce(sum(pending), 0) AS pending, coalesce(sum(waiting), 0) AS waiting FROM arrived) a
WHERE s.id = %(stream)s
RETURNING (a.pending + a.waiting)::bigint
"""


@transaction.atomic
def move_pending(
    source: Device, targets: Sequence[Device], campaign: Campaign | None, by: User | None, *, why: str = ""
) -> int:
    """Deal what ``source`` has not begun to send out evenly to ``targets``; returns how many messages moved.

    Those of one running or paused campaign, or of all of them; no target gets more people than the campaign's cap for a
    device allows. Whoever knows ``source`` goes on knowing it. ``why`` stands in the histories.
    """
    targets = [device for device in targets if device.pk != source.pk]
    if not targets:
        return 0
    campaigns = lock_campaigns(source, campaign)
    moved = _deal_all(source, targets, campaigns, None)
    for found in campaigns:
        if people := moved.get(found.pk):
            _note_campaign(found, source, targets, by, people, why)
    if moved:
        _note_device(source, targets, by, sum(moved.values()), why)
    return sum(moved.values())


def move_people(
    source: Device, targets: Sequence[Device], campaign: Campaign, people: Sequence[int], by: User | None, *, why: str
) -> int:
    """Deal what waits at ``source`` for these contacts out to ``targets``; returns how many messages moved.

    In the caller's transaction, which has locked the campaign and its streams.
    """
    targets = [device for device in targets if device.pk != source.pk]
    moved = _deal_all(source, targets, [campaign], people).get(campaign.pk, 0) if targets else 0
    if moved:
        _note_campaign(campaign, source, targets, by, moved, why)
        _note_device(source, targets, by, moved, why)
    return moved


def deal_to(source: Device, target: Device, campaigns: Sequence[Campaign], people: Sequence[int]) -> dict[int, int]:
    """Give what waits at ``source`` for these contacts to ``target``: campaign's id → how many messages.

    In the caller's transaction, which has locked the campaigns and then the people.
    """
    waiting = Message.objects.filter(
        contact__in=people, state__in=CLAIMABLE, stream__device=source, campaign__in=campaigns
    )
    concerned = set(waiting.values_list("campaign", flat=True))
    chosen = [campaign for campaign in campaigns if campaign.pk in concerned]
    return _deal_all(source, [target], chosen, people)


def lock_campaigns(source: Device, campaign: Campaign | None = None) -> list[Campaign]:
    """Those with something to move, by id: the first of all locks, which planners queue up for, too."""
    unsent = Stream.objects.unsent().filter(device=source).exclude(lane=Lane.DIRECT)
    found = Campaign.objects.filter(workspace=source.workspace_id, pk__in=unsent.values("campaign"))
    found = found.filter(state__in=OPEN)
    if campaign is not None:
        found = found.filter(pk=campaign.pk)
    return list(found.order_by("pk").select_for_update())


def _deal_all(
    source: Device, targets: Sequence[Device], campaigns: Sequence[Campaign], people: Sequence[int] | None
) -> dict[int, int]:
    """For each campaign how many messages moved, where any did; ``people`` None: everybody's."""
    for found in campaigns:
        _open_streams(found, targets)
    streams = Stream.objects.filter(campaign__in=campaigns, device__in=[source, *targets]).order_by("pk")
    locked = list(streams.select_for_update(no_key=True, of=("self",)))
    moved = {}
    for found in campaigns:
        own = [stream for stream in locked if stream.campaign_id == found.pk]
        if count := _deal(found, source, own, people):
            moved[found.pk] = count
    return moved


def _open_streams(campaign: Campaign, targets: Sequence[Device]) -> None:
    """The targets are devices of the campaign from now on."""
    links = [CampaignDevice(workspace_id=campaign.workspace_id, campaign=campaign, device=device) for device in targets]
    CampaignDevice.objects.bulk_create(links, ignore_conflicts=True)
    open_streams(campaign, [device.pk for device in targets])


def _deal(campaign: Campaign, source: Device, streams: Sequence[Stream], people: Sequence[int] | None) -> int:
    """What is due first goes first, in case that there is not room for everybody; each keeps its variant.

    ``streams``: the campaign's at the source and at the targets.
    """
    leaving = {stream.pk: stream for stream in streams if stream.device_id == source.pk}
    unsent = Message.objects.filter(stream__in=leaving.values(), state__in=CLAIMABLE).order_by("due_at", "pk")
    if people is not None:
        unsent = unsent.filter(contact__in=people)
    messages = list(unsent.values_list("pk", "stream_id"))
    targets = [stream for stream in streams if stream.pk not in leaving]
    slots = {(stream.device_id, stream.variant): slot for slot, stream in enumerate(targets, 1)}
    chosen = assign([None] * len(messages), rooms_of(campaign, targets))
    count = 0
    for stream in leaving.values():
        dealt = [
            (message, slots[device, stream.variant])
            for (message, own), device in zip(messages, chosen, strict=True)
            if own == stream.pk and device is not None
        ]
        if dealt:
            count += _move(stream, targets, dealt)
    return count


def _move(source: Stream, targets: Sequence[Stream], dealt: Sequence[tuple[int, int]]) -> int:
    """``dealt``: messages and the places, counted from 1, of the streams they go to."""
    with connection.cursor() as cursor:
        cursor.execute(
            MOVE_SQL,
            {
                "messages": [message for message, _ in dealt],
                "slots": [slot for _, slot in dealt],
                "streams": [stream.pk for stream in targets],
                "stream": source.pk,
                "device": source.device_id,
            },
        )
        count: int = cursor.fetchone()[0]
    return count


def _note_campaign(
    campaign: Campaign, source: Device, targets: Sequence[Device], by: User | None, people: int, why: str
) -> None:
    detail = {"people": people, "from": source.name, "to": [device.name for device in targets], "why": why}
    record(campaign.workspace, by, "campaign.messages_moved", campaign.target, **detail)
    push_campaigns([campaign.pk])


def _note_device(source: Device, targets: Sequence[Device], by: User | None, messages: int, why: str) -> None:
    to = ", ".join(device.name for device in targets)
    said = [f"{messages:,} to {to}", why, f"by {by}" if by else ""]
    DeviceEvent.objects.create(
        workspace=source.workspace, device=source, kind="messages moved", detail="; ".join(filter(None, said))[:200]
    )
    devices = [target(device) for device in targets]
    record(source.workspace, by, "device.messages_moved", target(source), messages=messages, to=devices)
    owners = Device.objects.filter(pk__in=[device.pk for device in targets], owner__isnull=False)
    rouse("campaign", owners.values_list("owner_id", "pk"))
    push_devices([source.pk, *(device.pk for device in targets)])
