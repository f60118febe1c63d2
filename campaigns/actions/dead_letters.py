"""Dead letters: they are kept, with every attempt and reason, until a person decides about them (P12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from django.db import transaction

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.actions.campaigns import rouse_campaign
from campaigns.actions.locking import lock_with_streams
from campaigns.actions.moving import move_people
from campaigns.live import push_campaigns
from campaigns.models import OPEN, CampaignState, Lane, Stream
from campaigns.querysets.unsettled import Selection, give_up_dead, people_of_dead, retry_dead
from devices.jobs import rouse
from devices.models import Device

# A cancelled campaign sends nothing any more, whoever asks.
REOPENABLE = (*OPEN, CampaignState.COMPLETED)


@transaction.atomic
def retry_failed(selection: Selection, by: User) -> int:
    """Return exactly these dead messages to ``pending``, each once; returns how many.

    The only action that does. A completed campaign runs again; a cancelled one refuses, and so does one whose time to
    send has passed.
    """
    return bring_back(selection, by, retry_dead, "campaign.failed_retried")


@transaction.atomic
def give_up_failed(selection: Selection, by: User) -> int:
    """These dead messages are never tried again: they count as cancelled from now on; returns how many."""
    return settle_for_good(selection, by, give_up_dead, "campaign.failed_given_up")


@transaction.atomic
def retry_elsewhere(selection: Selection, targets: Sequence[Device], by: User) -> int:
    """Return exactly these dead messages to ``pending`` at other devices; returns how many moved.

    Where the campaign lets the others take no more people, the rest waits at its own device.
    """
    assert selection.campaign is not None, "a test or a reply is its device's own"
    lock_with_streams([selection.campaign])
    people: dict[int, list[int]] = defaultdict(list)
    for device, contact, _ in people_of_dead(selection):
        if contact is not None:
            people[device].append(contact)
    if not retry_failed(selection, by):
        return 0
    moved = 0
    for source in Device.objects.filter(pk__in=people).select_related("workspace").order_by("pk"):
        moved += move_people(source, targets, selection.campaign, people[source.pk], by, why="tried again elsewhere")
    return moved


def bring_back(
    selection: Selection, by: User | None, statement: Callable[[Selection], int], deed: str, **detail: str
) -> int:
    """Make the selected messages claimable by ``statement``, in the caller's transaction, and see them on their way."""
    if selection.campaign is None:
        return _bring_back_direct(selection, by, statement, deed)
    (campaign,) = lock_with_streams([selection.campaign])
    if campaign.state not in REOPENABLE:
        return 0
    people = statement(selection)
    if not people:
        return 0
    if campaign.move_to(CampaignState.RUNNING, [CampaignState.COMPLETED], finished_at=None):
        Stream.objects.filter(campaign=campaign).update(running=True)
    record(campaign.workspace, by, deed, campaign.target, people=people, **detail)
    rouse_campaign(campaign)
    push_campaigns([campaign.pk])
    return people


def settle_for_good(
    selection: Selection, by: User | None, statement: Callable[[Selection], int], deed: str, **detail: str
) -> int:
    """End the selected messages by ``statement``, in the caller's transaction: nothing leaves."""
    if selection.campaign is None:
        workspace = _lock_direct(selection)
        if people := statement(selection):
            record(workspace, by, deed.replace("campaign.", "direct."), f"workspace:{workspace.uuid}", people=people)
        return people
    (campaign,) = lock_with_streams([selection.campaign])
    people = statement(selection)
    if people:
        record(campaign.workspace, by, deed, campaign.target, people=people, **detail)
        push_campaigns([campaign.pk])
    return people


def _bring_back_direct(selection: Selection, by: User | None, statement: Callable[[Selection], int], deed: str) -> int:
    workspace = _lock_direct(selection)
    people = statement(selection)
    if people:
        record(workspace, by, deed.replace("campaign.", "direct."), f"workspace:{workspace.uuid}", people=people)
        due = Stream.objects.for_workspace(workspace).filter(lane=Lane.DIRECT, next_due__isnull=False)
        rouse("control", due.values_list("device__owner_id", "device_id"))
    return people


def _lock_direct(selection: Selection) -> Workspace:
    assert selection.workspace is not None, "a selection without a campaign names its workspace"
    lock_with_streams([], [selection.workspace])
    return selection.workspace


# ---- of several campaigns at once


def lock_all(selections: Sequence[Selection]) -> None:
    campaigns = [selection.campaign for selection in selections if selection.campaign]
    lock_with_streams(campaigns, [selection.workspace for selection in selections if selection.workspace])


@transaction.atomic
def retry_all(selections: Sequence[Selection], by: User) -> int:
    lock_all(selections)
    return sum(retry_failed(selection, by) for selection in selections)


@transaction.atomic
def give_up_all(selections: Sequence[Selection], by: User) -> int:
    lock_all(selections)
    return sum(give_up_failed(selection, by) for selection in selections)


@transaction.atomic
def retry_all_elsewhere(selections: Sequence[Selection], targets: Sequence[Device], by: User) -> int:
    """Of what belongs to a campaign; a test or a reply is its device's own."""
    lock_all(selections)
    return sum(retry_elsewhere(selection, targets, by) for selection in selections if selection.campaign)
