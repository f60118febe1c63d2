"""Dead letters and doubts: what a person or a policy decides happens to exactly the messages meant, once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns import outbox
from campaigns.actions.campaigns import cancel_campaign, finish_campaigns, pause_campaign
from campaigns.actions.dead_letters import retry_failed
from campaigns.actions.direct import send_test
from campaigns.actions.doubts import assume_sent, send_again, settle_doubts
from campaigns.actions.planning import plan_whole
from campaigns.models import Attempt, Campaign, CampaignState, Message, Stream, Uncertain, UncertainPolicy
from campaigns.outbox import Ask, Claimed, Settlement
from campaigns.querysets.unsettled import Selection
from config.schedule import TIMETABLE
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction

REFUSED = "refused 463: not allowed to write to this person yet"


@pytest.fixture
def by(workspace: Workspace) -> User:
    return workspace.owner


def running(workspace: Workspace, lease: Lease, people: int = 3, devices: int = 1, **fields: Any) -> Campaign:
    own = [make_device(workspace, owner_id=lease.host, epoch=1, min_delay=0, max_delay=0) for _ in range(devices)]
    for _ in range(people):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=tuple(own), state=CampaignState.RUNNING, **fields)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    return campaign


def devices_of(campaign: Campaign) -> list[Device]:
    return list(Device.objects.filter(campaign_links__campaign=campaign).order_by("pk"))


def claim(lease: Lease, device: Device) -> Claimed | None:
    """What the device would send now; it is asked again where the first answer only tidied up."""
    for _ in range(3):
        for answer in outbox.claim(lease, [Ask(device.pk, 1, 0.5, secrets.token_bytes(32))]):
            if isinstance(answer, Claimed):
                return answer
            if answer.reason != "again":
                return None
    return None


def settle(claimed: Claimed, state: str, reason: str = "", **fields: Any) -> None:
    attempt = (claimed.device, claimed.epoch, claimed.message, claimed.tag)
    outbox.settle([Settlement(*attempt, state, reason, "Hello", 0.0, **fields)])


def all_end(campaign: Campaign, lease: Lease, state: str, reason: str = REFUSED) -> list[int]:
    """Let everybody's message be tried once, to this end; the ids in the order of the tries."""
    tried = []
    for device in devices_of(campaign):
        while claimed := claim(lease, device):
            settle(claimed, state, reason)
            tried.append(claimed.message)
    finish_campaigns([campaign.pk])
    return tried


def now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


def states(campaign: Campaign) -> dict[int, str]:
    return dict(Message.objects.filter(campaign=campaign).values_list("pk", "state"))


def assert_true_to_the_rows(campaign: Campaign) -> None:
    found = audit(campaign.workspace_id)
    assert is_clean(found), found


# ---- dead letters


def test_14_a_retry_returns_exactly_the_failed_rows_shown_each_once(
    workspace: Workspace, lease: Lease, by: User
) -> None:
    campaign = running(workspace, lease, people=6, devices=2)
    untouched = claim(lease, devices_of(campaign)[0])
    assert untouched is not None
    settle(untouched, "sent", wire_id="wire-1")
    failed = all_end(campaign, lease, "dead")
    assert len(failed) == 5
    shown = now()
    assert retry_failed(Selection(campaign, shown), by) == 5
    assert states(campaign) == {untouched.message: "sent", **dict.fromkeys(failed, "pending")}
    assert_true_to_the_rows(campaign)
    assert retry_failed(Selection(campaign, shown), by) == 0, "the same post once more"
    again = all_end(campaign, lease, "dead")
    assert sorted(again) == sorted(failed)
    assert retry_failed(Selection(campaign, shown), by) == 0, "they died again since that list was shown"
    assert retry_failed(Selection(campaign, now()), by) == 5
    entries = AuditEntry.objects.filter(target=campaign.target, action="campaign.failed_retried")
    assert [(entry.actor, entry.detail["people"]) for entry in entries] == [(by, 5), (by, 5)]
    assert_true_to_the_rows(campaign)


def test_ten_people_who_retry_at_once_while_it_is_sent_return_each_message_once(
    workspace: Workspace, lease: Lease, by: User
) -> None:
    campaign = running(workspace, lease, people=40, devices=4)
    failed = all_end(campaign, lease, "dead")
    selection = Selection(campaign, now())

    def retry(number: int) -> int:
        try:
            if number % 2:
                return retry_failed(selection, by)
            all_end(campaign, lease, "dead")
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(retry, range(20))) == len(failed) == 40
    assert set(Message.objects.filter(campaign=campaign).values_list("attempts", flat=True)) <= {1, 2}
    assert_true_to_the_rows(campaign)


def test_a_retry_is_narrowed_by_device_reason_and_message(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease, people=6, devices=2)
    first, second = devices_of(campaign)
    failed = all_end(campaign, lease, "dead")
    odd = failed[0]
    Message.objects.filter(pk=odd).update(reason="template: no name")
    for selection, expected in (
        (Selection(campaign, now(), reason="template: no name"), {odd}),
        (Selection(campaign, now(), messages=[odd, failed[1]]), {failed[1]}),
        (Selection(campaign, now(), messages=[]), set()),
        (Selection(campaign, now(), device=second), set(failed[3:])),
        (Selection(campaign, now(), device=first), {failed[2]}),
    ):
        before = states(campaign)
        assert retry_failed(selection, by) == len(expected)
        after = states(campaign)
        assert {pk for pk in after if after[pk] != before[pk]} == expected
    assert_true_to_the_rows(campaign)


def test_a_retry_of_another_campaigns_messages_finds_none(workspace: Workspace, lease: Lease, by: User) -> None:
    ours, theirs = running(workspace, lease), running(make_workspace(), lease)
    foreign = all_end(theirs, lease, "dead")
    assert retry_failed(Selection(ours, now(), messages=foreign), by) == 0
    assert set(states(theirs).values()) == {"dead"}


def test_a_completed_campaign_runs_again_and_completes_again(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease)
    all_end(campaign, lease, "dead")
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.COMPLETED
    retry_failed(Selection(campaign, now()), by)
    campaign.refresh_from_db()
    assert (campaign.state, campaign.finished_at) == (CampaignState.RUNNING, None)
    assert_true_to_the_rows(campaign)
    all_end(campaign, lease, "sent", "")
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.COMPLETED
    assert set(states(campaign).values()) == {"sent"}
    assert_true_to_the_rows(campaign)


def test_a_paused_campaign_stays_paused_until_somebody_resumes_it(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease)
    claimed = claim(lease, devices_of(campaign)[0])
    assert claimed is not None
    settle(claimed, "dead", REFUSED)
    pause_campaign(campaign, by)
    assert retry_failed(Selection(campaign, now()), by) == 1
    assert claim(lease, devices_of(campaign)[0]) is None
    assert_true_to_the_rows(campaign)


@pytest.mark.parametrize("closed", ["cancelled", "expired"])
def test_what_is_over_for_good_refuses_to_send_again(workspace: Workspace, lease: Lease, by: User, closed: str) -> None:
    campaign = running(workspace, lease, people=4)
    device = devices_of(campaign)[0]
    for state in ("dead", "uncertain"):
        claimed = claim(lease, device)
        assert claimed is not None
        settle(claimed, state)
    if closed == "cancelled":
        cancel_campaign(campaign, by)
    else:
        Stream.objects.filter(campaign=campaign).update(expires_at=timezone.now() - timedelta(seconds=1))
    before = states(campaign)
    assert retry_failed(Selection(campaign, now()), by) == send_again(Selection(campaign, now()), by) == 0
    assert states(campaign) == before
    assert assume_sent(Selection(campaign, now()), by) == 1, "nothing leaves for that"


def test_p12_every_attempt_and_its_reason_stay_known(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease, people=1)
    device = devices_of(campaign)[0]
    for number in range(1, 4):
        claimed = claim(lease, device)
        assert claimed is not None
        settle(claimed, "dead", f"refused 46{number}: no")
        if number < 3:
            retry_failed(Selection(campaign, now()), by)
            message = Message.objects.get(campaign=campaign)
            assert (message.reason, message.tries, message.attempts) == ("", 0, number)
    kept = Attempt.objects.filter(message__campaign=campaign).order_by("number")
    assert list(kept.values_list("number", "outcome", "device_id")) == [
        (1, "refused 461: no", device.pk),
        (2, "refused 462: no", device.pk),
    ]
    message = Message.objects.get(campaign=campaign)
    assert (message.state, message.reason, message.attempts) == ("dead", "refused 463: no", 3)


def test_p4_what_three_gateways_died_with_may_arrive_twice_and_says_so(
    workspace: Workspace, lease: Lease, by: User
) -> None:
    campaign = running(workspace, lease, people=2)
    poison, refused = all_end(campaign, lease, "dead")
    Message.objects.filter(pk=poison).update(deaths=3, reason="gateway died 3 times while sending it")
    retry_failed(Selection(campaign, now()), by)
    assert Message.objects.filter(pk=poison).values_list("may_duplicate", "deaths").get() == (True, 0)
    assert Message.objects.filter(pk=refused).values_list("may_duplicate", "deaths").get() == (False, 0)


# ---- doubts


def test_what_is_sent_again_is_marked_and_leaves_once(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease, people=2)
    doubted = all_end(campaign, lease, "uncertain", "disconnected before the ack")
    shown = now()
    assert send_again(Selection(campaign, shown), by) == 2
    assert not Uncertain.objects.exists()
    assert_true_to_the_rows(campaign)
    assert sorted(all_end(campaign, lease, "uncertain")) == sorted(doubted)
    assert send_again(Selection(campaign, shown), by) == 0, "uncertain anew, since that list was shown"
    assert send_again(Selection(campaign, now()), by) == 2
    all_end(campaign, lease, "sent", "")
    assert set(Message.objects.values_list("state", "may_duplicate")) == {("sent", True)}
    kept = Attempt.objects.filter(number=1).values_list("outcome", flat=True)
    assert set(kept) == {"disconnected before the ack"}
    assert_true_to_the_rows(campaign)


def test_what_is_assumed_counts_as_sent_in_a_state_of_its_own(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease, people=3, devices=1)
    first, *others = all_end(campaign, lease, "uncertain")
    assert assume_sent(Selection(campaign, now(), messages=others), by) == 2
    assert assume_sent(Selection(campaign, now(), messages=others), by) == 0
    assert states(campaign) == {first: "uncertain", **dict.fromkeys(others, "assumed")}
    totals = Stream.objects.filter(campaign=campaign).totals()
    assert (totals["sent"], totals["uncertain"], totals["n_assumed"]) == (2, 1, 2)
    assert Uncertain.objects.get().message_id == first
    entry = AuditEntry.objects.get(target=campaign.target, action="campaign.doubts_assumed_sent")
    assert (entry.actor, entry.detail) == (by, {"people": 2})
    assert_true_to_the_rows(campaign)


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        (UncertainPolicy.HOLD, "uncertain"),
        (UncertainPolicy.RESEND, "pending"),
        (UncertainPolicy.ASSUME_SENT, "assumed"),
    ],
)
def test_after_its_time_the_campaigns_policy_decides(
    workspace: Workspace, lease: Lease, policy: str, state: str
) -> None:
    campaign = running(workspace, lease, people=2, uncertain_policy=policy)
    young, old = all_end(campaign, lease, "uncertain")
    assert settle_doubts() == 0, "it is too early"
    long_ago = timezone.now() - timedelta(seconds=settings.UNCERTAIN_AFTER_S + 5)
    Uncertain.objects.filter(message=old).update(since=long_ago, began_at=long_ago)
    Message.objects.update(attempted_at=long_ago)  # both: what counts is for how long nobody knows
    assert settle_doubts() == (0 if state == "uncertain" else 1)
    assert settle_doubts() == 0
    assert states(campaign) == {young: "uncertain", old: state}
    assert Message.objects.get(pk=old).may_duplicate == (state == "pending")
    assert_true_to_the_rows(campaign)
    made = AuditEntry.objects.filter(target=campaign.target, action__startswith="campaign.doubts")
    assert [(entry.actor, entry.detail) for entry in made] == (
        [] if state == "uncertain" else [(None, {"people": 1, "policy": policy})]
    )


def test_the_policy_of_a_cancelled_campaign_sends_nothing(workspace: Workspace, lease: Lease, by: User) -> None:
    campaign = running(workspace, lease, people=2, uncertain_policy=UncertainPolicy.RESEND)
    claimed = claim(lease, devices_of(campaign)[0])
    assert claimed is not None
    settle(claimed, "uncertain")
    cancel_campaign(campaign, by)
    age(claimed.message)
    assert settle_doubts() == 0
    assert states(campaign)[claimed.message] == "uncertain"


def test_p4_the_policy_sends_again_once_and_then_asks_a_person(workspace: Workspace, lease: Lease) -> None:
    campaign = running(workspace, lease, people=1, uncertain_policy=UncertainPolicy.RESEND)
    for settled in (1, 0):
        claimed = claim(lease, devices_of(campaign)[0])
        assert claimed is not None
        settle(claimed, "uncertain")
        age(claimed.message)
        assert settle_doubts() == settled
    assert set(states(campaign).values()) == {"uncertain"}


def age(message: int) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    Uncertain.objects.filter(message=message).update(since=long_ago, began_at=long_ago)
    Message.objects.filter(pk=message).update(attempted_at=long_ago)


def test_single_messages_wait_for_a_person_whatever_their_age(workspace: Workspace, lease: Lease) -> None:
    device = make_device(workspace, owner_id=lease.host, epoch=1, min_delay=0, max_delay=0)
    message = send_test(device, "+60123456789", "Hello", None)
    claimed = claim(lease, device)
    assert claimed is not None
    settle(claimed, "uncertain")
    age(message.pk)
    assert settle_doubts() == 0
    message.refresh_from_db()
    assert message.state == "uncertain"


def test_the_audit_finds_a_message_that_no_evidence_would_be_looked_for(workspace: Workspace, lease: Lease) -> None:
    campaign = running(workspace, lease, people=2)
    lost, _ = all_end(campaign, lease, "uncertain")
    assert_true_to_the_rows(campaign)
    doubt = Uncertain.objects.get(message=lost)
    doubt.delete()
    what = "a message is uncertain without a doubt, or doubted although it is not"
    assert [found["which"] for found in audit()["violations"] if found["what"] == what] == [[str(lost)]]


def test_the_clock_looks_at_doubts() -> None:
    functions: list[Callable[[], Any] | None] = [job.func for job in TIMETABLE]
    names = {f"{function.__module__}.{function.__name__}" for function in functions if function}
    assert "campaigns.jobs.doubts.settle" in names
