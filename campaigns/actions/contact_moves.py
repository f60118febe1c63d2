"""Moving people: whoever knows one device knows another one from now on, and what waits for them leaves from there."""

from __future__ import annotations

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from campaigns.actions import in_steps, moving
from campaigns.live import push_campaigns
from campaigns.models import Campaign, Contact, ContactMove
from devices.actions import target as named
from devices.jobs import rouse
from devices.live import push_devices
from devices.models import Device, DeviceEvent

MOVE_JOB = "campaigns.jobs.moving.move_people"

# By number, as an import and a plan lock people: none waits for the other crosswise. Read on from the last one, since
# there is no index on people's devices.
PEOPLE_SQL = """
WITH these AS MATERIALIZED (
    SELECT id, phone FROM campaigns_contact
    WHERE workspace_id = %(workspace)s AND device_id = %(source)s AND phone > %(last)s
    ORDER BY phone LIMIT %(size)s FOR NO KEY UPDATE
)
UPDATE campaigns_contact c SET device_id = %(target)s FROM these WHERE c.id = these.id
RETURNING c.id, c.phone
"""


@transaction.atomic
def move_contacts(source: Device, to: Device, by: User | None) -> ContactMove | None:
    """Everybody who knows ``source`` knows ``to`` from now on; their unsent messages move along.

    A few people at once, many in a job, step by step. None while a move of its people is under way: asking again
    changes nothing.
    """
    if source.pk == to.pk or source.workspace_id != to.workspace_id:
        raise ValueError("People move to another device of the same workspace.")
    expected = Contact.objects.for_workspace(source.workspace).filter(device=source).count()
    try:
        with transaction.atomic():
            move = ContactMove.objects.create(
                workspace=source.workspace, source=source, target=to, expected=expected, created_by=by
            )
    except IntegrityError:
        return None
    record(source.workspace, by, "device.people_moved", named(source), people=expected, to=named(to))
    in_steps.start(move_step, move.pk, MOVE_JOB, expected)
    move.refresh_from_db()
    return move


def work_on_move(move_id: int) -> None:
    in_steps.go_on(move_step, move_id, MOVE_JOB)


def resume_stalled_moves() -> int:
    return in_steps.resume_stalled(ContactMove.objects.all(), MOVE_JOB)


@transaction.atomic
def move_step(move_id: int, size: int = in_steps.STEP) -> bool:
    """Move the next ``size`` people and what waits for them; true when nobody is left."""
    found = ContactMove.objects.select_for_update(of=("self",)).filter(pk=move_id, finished_at__isnull=True)
    move = found.select_related("workspace", "source", "target__workspace", "created_by").first()
    if move is None:
        return True
    campaigns = moving.lock_campaigns(move.source)
    people = _move_people(move, size)
    moved = moving.deal_to(move.source, move.target, campaigns, list(people)) if people else {}
    for campaign, messages in moved.items():
        move.by_campaign[str(campaign)] = move.by_campaign.get(str(campaign), 0) + messages
    move.people += len(people)
    move.messages += sum(moved.values())
    move.heartbeat_at = Now()
    done = len(people) < size
    move.last_phone = max(people.values(), default="")
    if done and move.last_phone and _some_are_left(move):  # met behind us meanwhile
        move.last_phone, done = "", False
    if done:
        move.finished_at = Now()
        _tell(move)
    move.save()
    if moved:
        rouse("campaign", [(move.target.owner_id, move.target_id)])
        push_campaigns(moved)
    return done


def _move_people(move: ContactMove, size: int) -> dict[int, str]:
    """Their ids and numbers."""
    values = {"workspace": move.workspace_id, "source": move.source_id, "target": move.target_id}
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE_SQL, {**values, "last": move.last_phone, "size": size})
        return dict(cursor.fetchall())


def _some_are_left(move: ContactMove) -> bool:
    return Contact.objects.for_workspace(move.workspace).filter(device=move.source).exists()


def _tell(move: ContactMove) -> None:
    source, to = move.source, move.target
    by = f"; by {move.created_by}" if move.created_by else ""
    detail = f"{move.people:,} people and {move.messages:,} messages to {to.name}{by}"
    DeviceEvent.objects.create(workspace=move.workspace, device=source, kind="people moved", detail=detail[:200])
    for campaign in Campaign.objects.filter(pk__in=move.by_campaign):
        people = move.by_campaign[str(campaign.pk)]
        told = {"people": people, "from": source.name, "to": [to.name], "why": "its people moved"}
        record(move.workspace, move.created_by, "campaign.messages_moved", campaign.target, **told)
    push_devices([source.pk, to.pk])
