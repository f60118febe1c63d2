"""The Queue page: its lanes, what waits for its time, and decisions about exactly what was shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns import dead_letters, outbox
from campaigns.actions.direct import direct_stream
from campaigns.dead_letters import failed_in, people_of
from campaigns.engine.causes import CAUSES, cause_of
from campaigns.models import Attempt, Campaign, Message, Stream, Uncertain, WireId
from campaigns.outbox import ReceiptRow
from devices.models import Device
from monitoring.invariants import audit, is_clean
from monitoring.queue import device_lanes, waiting_for_somebody
from tests.campaigns.campaign_cases import words
from tests.factories import make_campaign, make_device, make_host
from tests.monitoring.queue_cases import direct_messages, doubtful_campaign, failed_campaign

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]

SERVER = "refused 479: server returned error 479"
NOBODY = "no LID found for the number: it is not on WhatsApp"
LOCKED = "refused 463: server returned error 463"
GOOD = "refused 420: server returned error 420"
TEXT = "template: city is missing"


@pytest.fixture(autouse=True)
def nothing_kept(db: None) -> None:
    cache.clear()


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace, name="Shop 1", owner=make_host())


def fields_of(page: str, action: str) -> dict[str, list[str]]:
    """What the form with this action would post."""
    form = page[page.index(f'action="{action}"') :]
    found: dict[str, list[str]] = {}
    for name, value in re.findall(
        r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[: form.index("</form>")]
    ):
        found.setdefault(name, []).append(value)
    found.pop("csrfmiddlewaretoken", None)
    return found


def groups_page(client: Client) -> str:
    answer = client.get("/queue/failed/")
    assert answer.status_code == 200
    return answer.content.decode()


def post(client: Client, page: str, action: str, **more: Any) -> str:
    answer = client.post(action, {**fields_of(page, action), **more}, follow=True)
    assert answer.status_code == 200
    return words(answer)


def states(*campaigns: Campaign) -> Counter[str]:
    return Counter(Message.objects.filter(campaign__in=campaigns).values_list("state", flat=True))


def assert_all_counted(workspace: Workspace) -> None:
    found = audit(workspace.pk)
    assert is_clean(found), found["violations"]


# ---- Causes


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (SERVER, "retry"),
        ("not connected", "retry"),
        ("", "retry"),
        ("refused 403: server returned error 403", "retry"),
        (NOBODY, "number"),
        ("not a number", "number"),
        (LOCKED, "device"),
        ("refused 429", "device"),
        (GOOD, "refused"),
        (TEXT, "text"),
        ("gateway died 3 times while sending it", "crash"),
    ],
)
def test_each_reason_asks_for_one_deed(reason: str, cause: str) -> None:
    assert cause_of(reason) == cause
    assert CAUSES[cause].deeds[0] in ("retry", "move", "look", "give_up")


def test_failed_messages_stand_in_groups_with_their_counts(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    failed_campaign(workspace, device, [SERVER, SERVER, NOBODY, LOCKED, GOOD, TEXT, ""])
    failed_campaign(workspace, device, [SERVER], state="cancelled")
    gone = make_device(workspace, state="banned")
    failed_campaign(workspace, gone, [SERVER, NOBODY])
    direct_messages(device, "dead", [LOCKED])
    found = {key: group.count for key, group in failed_in(workspace).groups.items()}
    assert found == {"device": 2, "number": 2, "text": 1, "retry": 3, "refused": 2, "over": 1}
    page = words(as_alice.get("/queue/failed/"))
    for key in found:
        assert CAUSES[key].title in page


def test_every_person_of_a_group_is_listed_once(workspace: Workspace, device: Device) -> None:
    campaigns = [failed_campaign(workspace, device, [f"refused {code}"] * 3) for code in (500, 502, 503)]
    unnamed = failed_campaign(workspace, device, [""] * 4)
    deleted = Message.objects.filter(campaign=campaigns[1]).order_by("pk")[0]
    Message.objects.filter(pk=deleted.pk).update(contact=None)
    direct_messages(device, "dead", [SERVER, SERVER])
    groups = failed_in(workspace).groups
    assert {key: group.count for key, group in groups.items()} == {"retry": 14, "over": 1}
    seen: list[int] = []
    for group in groups.values():
        after = ""
        while True:
            rows, after = people_of(group, after, size=2)
            seen += [row.message.pk for row in rows]
            if not after:
                break
    assert sorted(seen) == sorted(Message.objects.filter(state="dead").values_list("pk", flat=True))
    assert not Message.objects.filter(campaign=unnamed).exclude(pk__in=seen).exists()


def test_hundreds_of_groups_cost_no_more_queries_than_one(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    pages = ("/queue/", "/queue/failed/", "/queue/failed/retry/", "/queue/devices/", "/queue/uncertain/")

    def cost() -> dict[str, int]:
        counted = {}
        for url in pages:
            with CaptureQueriesContext(connection) as queries:
                assert as_alice.get(url).status_code == 200
            counted[url] = len(queries)
        return counted

    failed_campaign(workspace, device, [SERVER])
    doubtful_campaign(workspace, device, 1)
    Stream.objects.update(pending=1, next_due=timezone.now())
    as_alice.get("/queue/")
    few = cost()
    other = make_device(workspace, owner=device.owner)
    failed_campaign(workspace, other, [f"refused 500: {number}" for number in range(200)])
    doubtful_campaign(workspace, other, 20)
    Stream.objects.update(pending=1, next_due=timezone.now())
    assert cost() == few


# ---- Decisions about what failed


def test_a_retry_takes_exactly_what_was_shown_once(as_alice: Client, workspace: Workspace, device: Device) -> None:
    first = failed_campaign(workspace, device, [SERVER, NOBODY, SERVER])
    second = failed_campaign(workspace, device, [SERVER], state="completed", finished_at=timezone.now())
    page = groups_page(as_alice)
    later = failed_campaign(workspace, device, [SERVER])
    Message.objects.filter(campaign=later).update(dead_at=timezone.now() + timedelta(seconds=5))
    assert "3 messages will be tried again." in post(as_alice, page, "/queue/failed/retry/retry/")
    assert states(first) == {"pending": 2, "dead": 1}
    assert states(second) == {"pending": 1}
    assert states(later) == {"dead": 1}, "it failed after the page was shown"
    second.refresh_from_db()
    assert second.state == "running"
    assert "Nothing was changed." in post(as_alice, page, "/queue/failed/retry/retry/"), "posted twice"
    entries = AuditEntry.objects.filter(action="campaign.failed_retried").values_list("target", "detail__people")
    assert dict(entries) == {first.target: 2, second.target: 1}
    assert Message.objects.get(campaign=second).due_at <= timezone.now()


def test_what_is_given_up_is_kept_as_cancelled_with_its_reason(
    as_alice: Client, alice: User, workspace: Workspace, device: Device
) -> None:
    campaign = failed_campaign(workspace, device, [GOOD, GOOD, SERVER])
    over = failed_campaign(workspace, device, [SERVER], state="cancelled")
    page = groups_page(as_alice)
    assert "2 messages given up" in post(as_alice, page, "/queue/failed/refused/give_up/")
    assert "1 message given up" in post(as_alice, page, "/queue/failed/over/give_up/")
    assert states(campaign) == {"cancelled": 2, "dead": 1}
    assert states(over) == {"cancelled": 1}
    given_up = Message.objects.filter(campaign=campaign, state="cancelled")
    assert set(given_up.values_list("reason", flat=True)) == {"given_up"}
    assert set(Attempt.objects.filter(message__in=given_up).values_list("outcome", flat=True)) == {GOOD}
    deeds = AuditEntry.objects.filter(action="campaign.failed_given_up", actor=alice)
    assert Counter(deeds.values_list("detail__people", flat=True)) == {2: 1, 1: 1}
    assert_all_counted(workspace)
    message = given_up[0]
    assert "somebody gave it up" in words(as_alice.get(f"/recipients/{message.pk}/"))


def test_other_devices_take_what_their_own_cannot_send(as_alice: Client, workspace: Workspace, device: Device) -> None:
    gone = make_device(workspace, state="unlinked", phone=None)
    campaign = failed_campaign(workspace, gone, [SERVER, LOCKED, NOBODY])
    here = failed_campaign(workspace, device, [LOCKED, SERVER])
    other = make_device(workspace, owner=device.owner, name="Shop 2")
    page = groups_page(as_alice)
    action = "/queue/failed/device/move/"
    assert "Choose a device that is online." in post(as_alice, page, action)
    assert "3 messages will be tried again by other devices." in post(as_alice, page, action, to=[str(other.uuid)])
    moved = Message.objects.filter(stream__device=other, state="pending")
    assert Counter(moved.values_list("campaign", flat=True)) == {campaign.pk: 2, here.pk: 1}
    assert states(campaign) == {"pending": 2, "dead": 1}
    assert states(here) == {"pending": 1, "dead": 1}, "what its own device can send stays with it"
    assert "Nothing was changed." in post(as_alice, page, action, to=[str(other.uuid)])
    assert Stream.objects.filter(campaign=campaign).totals()["should"] == 3


def test_a_device_that_came_back_meanwhile_changes_nothing_of_what_was_meant(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    gone = make_device(workspace, state="banned")
    campaign = failed_campaign(workspace, gone, [SERVER])
    page = groups_page(as_alice)
    Device.objects.filter(pk=gone.pk).update(state="online", owner=device.owner)
    assert "1 message given up" in post(as_alice, page, "/queue/failed/device/give_up/")
    assert states(campaign) == {"cancelled": 1}


def test_tests_and_replies_that_failed_can_be_settled_too(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    stream = direct_messages(device, "dead", [SERVER, GOOD])
    page = groups_page(as_alice)
    post(as_alice, page, "/queue/failed/retry/retry/")
    post(as_alice, page, "/queue/failed/refused/give_up/")
    stream.refresh_from_db()
    assert (stream.pending, stream.cancelled, stream.dead) == (1, 1, 0)
    assert stream.next_due is not None
    assert_all_counted(workspace)


# ---- Doubts


def test_the_evidence_and_what_will_happen_is_told(as_alice: Client, workspace: Workspace, device: Device) -> None:
    resend = doubtful_campaign(workspace, device, 2, uncertain_policy="resend", name="Resent")
    doubtful_campaign(workspace, device, 1, uncertain_policy="assume_sent")
    doubtful_campaign(workspace, device, 1)
    first, second = Uncertain.objects.filter(message__campaign=resend).order_by("pk")
    Message.objects.filter(pk=first.message_id).update(wire_id="ABC")
    Uncertain.objects.filter(pk=second.pk).update(asked_at=timezone.now())
    page = words(as_alice.get("/queue/uncertain/"))
    assert "Uncertain messages 4" in page
    assert "Its tag was found" in page
    assert "not found, which proves nothing" in page
    assert "was not searched yet" in page
    assert page.count("Without a proof it is sent again, as its campaign is set: in 23 hours") == 2
    assert page.count("Without a proof it counts as sent") == 1
    assert page.count("until you decide, as its campaign is set") == 1
    assert page.count("by Shop 1: Timed out") == 4


@pytest.mark.parametrize(
    ("decision", "state", "deed"),
    [
        ("send_again", "pending", "campaign.doubts_sent_again"),
        ("assume_sent", "assumed", "campaign.doubts_assumed_sent"),
        ("give_up", "cancelled", "campaign.doubts_given_up"),
    ],
)
def test_a_decision_takes_all_doubts_that_were_shown_once(
    as_alice: Client, workspace: Workspace, device: Device, decision: str, state: str, deed: str
) -> None:
    first, second = doubtful_campaign(workspace, device, 2), doubtful_campaign(workspace, device, 1)
    page = as_alice.get("/queue/uncertain/").content.decode()
    later = doubtful_campaign(workspace, device, 1)
    Uncertain.objects.filter(message__campaign=later).update(since=timezone.now() + timedelta(seconds=5))
    action = f"/queue/uncertain/{decision}/"
    assert post(as_alice, page, action).count("3 messages") == 1
    assert states(first, second) == {state: 3}
    assert states(later) == {"uncertain": 1}
    assert "Nothing was changed." in post(as_alice, page, action)
    assert AuditEntry.objects.filter(action=deed).count() == 2
    assert Uncertain.objects.count() == 1
    assert Message.objects.filter(may_duplicate=True).count() == (3 if decision == "send_again" else 0)
    for campaign in (first, second):
        totals = Stream.objects.filter(campaign=campaign).totals()
        assert (totals[f"n_{state}"], totals["uncertain"]) == (campaign.messages.count(), 0)


def test_one_message_or_one_campaign_alone_can_be_decided(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    first, second = doubtful_campaign(workspace, device, 2), doubtful_campaign(workspace, device, 2)
    stream = direct_messages(device, "uncertain", ["timed out"])
    one = Message.objects.filter(campaign=first).order_by("pk")[0]
    until = timezone.now().isoformat()
    as_alice.post("/queue/uncertain/assume_sent/", {"until": until, "message": one.pk})
    assert states(first, second) == {"assumed": 1, "uncertain": 3}
    page = as_alice.get(f"/queue/uncertain/?campaign={second.uuid}").content.decode()
    post(as_alice, page, "/queue/uncertain/give_up/")
    assert states(second) == {"cancelled": 2}
    page = as_alice.get("/queue/uncertain/?campaign=direct").content.decode()
    post(as_alice, page, "/queue/uncertain/send_again/")
    stream.refresh_from_db()
    assert (stream.pending, stream.uncertain) == (1, 0)
    assert states(first) == {"assumed": 1, "uncertain": 1}
    assert_all_counted(workspace)


def test_a_receipt_settles_even_what_was_given_up(workspace: Workspace, device: Device, as_alice: Client) -> None:
    campaign = doubtful_campaign(workspace, device, 1)
    message = Message.objects.get(campaign=campaign)
    WireId.objects.create(workspace=workspace, device_id=device.pk, wire_id="ABC", message_id=message.pk)
    page = as_alice.get("/queue/uncertain/").content.decode()
    post(as_alice, page, "/queue/uncertain/give_up/")
    outbox.settle_receipts([ReceiptRow(device.pk, "ABC", "chat", "delivered", timezone.now().timestamp())])
    assert states(campaign) == {"delivered": 1}
    assert_all_counted(workspace)


# ---- Lanes and times


def test_lanes_say_how_much_waits_and_since_when_it_is_due(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    campaign = failed_campaign(workspace, device, [SERVER])
    now = timezone.now()
    Stream.objects.filter(campaign=campaign).update(pending=1_200, waiting=3, next_due=now - timedelta(minutes=4))
    page = words(as_alice.get("/queue/"))
    assert "Campaigns 1,203 1,203 due, the oldest 4 minutes ago" in page
    assert "Direct 0 nothing waits" in page
    assert "Failed 1" in page
    rows = words(as_alice.get("/queue/devices/"))
    assert "Shop 1 Online 0 1,203 0 4 minutes ago" in rows
    Stream.objects.filter(campaign=campaign).update(held_until=now + timedelta(hours=2))
    assert "Campaigns 1,203 not due yet" in words(as_alice.get("/queue/")), "what is held may not leave"
    Stream.objects.filter(campaign=campaign).update(running=False)
    assert "Campaigns 0 nothing waits" in words(as_alice.get("/queue/")), "a paused campaign is no queue"


def test_a_device_with_tests_and_replies_alone_sends_at_any_hour(workspace: Workspace, device: Device) -> None:
    now = timezone.now().astimezone(workspace.zone)
    begin, end = ((now + timedelta(hours=hours)).time() for hours in (2, 3))
    Device.objects.filter(pk=device.pk).update(sending_from=begin, sending_to=end)
    stream = direct_stream(device)
    Stream.objects.filter(pk=stream.pk).update(pending=1, next_due=timezone.now())
    (row,) = device_lanes(workspace)
    assert row.hold is None
    assert row.next_send is not None
    assert row.next_send <= timezone.now()


def test_what_waits_for_its_time_says_why_and_until_when(
    as_alice: Client, workspace: Workspace, device: Device
) -> None:
    now = timezone.now()
    make_campaign(workspace, name="Dawn", state="scheduled", start_at=now + timedelta(hours=3, minutes=1))
    held = failed_campaign(workspace, device, [SERVER], name="Night", expires_at=now + timedelta(hours=5, minutes=1))
    Stream.objects.filter(campaign=held).update(pending=7, held_until=now + timedelta(hours=2, minutes=1))
    paused = failed_campaign(workspace, device, [SERVER], state="paused", name="Halted", paused_why="Too many failed.")
    Stream.objects.filter(campaign=paused).update(pending=2)
    page = words(as_alice.get("/queue/"))
    assert "Dawn" in page
    assert "in 3 hours" in page
    assert "Night 7 It is outside the hours for writing to these people. in 2 hours in 5 hours" in page
    assert "Halted 2 Too many failed." in page


def test_the_menu_counts_what_waits_for_somebody(as_alice: Client, workspace: Workspace, device: Device) -> None:
    assert "sidebar-count" not in as_alice.get("/devices/").content.decode()
    cache.clear()
    failed_campaign(workspace, device, [SERVER, NOBODY])
    doubtful_campaign(workspace, device, 1)
    assert ">3</span>" in as_alice.get("/devices/").content.decode()
    page = groups_page(as_alice)
    post(as_alice, page, "/queue/failed/retry/retry/")
    assert waiting_for_somebody(workspace) == 2


# ---- Whose it is


def test_an_empty_queue_says_so(as_alice: Client) -> None:
    page = words(as_alice.get("/queue/"))
    assert "No campaign starts later." in page
    assert "Nothing failed." in words(as_alice.get("/queue/failed/"))
    assert "Nothing is uncertain" in words(as_alice.get("/queue/uncertain/"))
    assert "Nothing of this kind" in words(as_alice.get("/queue/failed/retry/"))
    assert "Nothing waits at any device." in words(as_alice.get("/queue/devices/"))


def test_a_viewer_looks_and_decides_nothing(bob: User, workspace: Workspace, device: Device, sign_in: SignIn) -> None:
    campaign = failed_campaign(workspace, device, [SERVER])
    doubtful = doubtful_campaign(workspace, device, 1)
    client = sign_in(bob)
    for url in ("/queue/failed/", "/queue/failed/retry/", "/queue/uncertain/"):
        assert '<form method="post"' not in re.sub(r".*<main", "", client.get(url).content.decode(), flags=re.DOTALL)
    until = {"until": timezone.now().isoformat(), "device": str(device.uuid)}
    assert client.post("/queue/failed/retry/retry/", until).status_code == 403
    assert client.post("/queue/uncertain/send_again/", until).status_code == 403
    assert states(campaign, doubtful) == {"dead": 1, "uncertain": 1}


def test_another_workspace_sees_and_moves_nothing(
    as_alice: Client, workspace: Workspace, charlie: User, device: Device, sign_in: SignIn
) -> None:
    campaign = failed_campaign(workspace, device, [SERVER, LOCKED], name="Secret")
    doubtful = doubtful_campaign(workspace, device, 1, name="Secret too")
    page, doubts = groups_page(as_alice), as_alice.get("/queue/uncertain/").content.decode()
    stranger = sign_in(charlie)
    own = make_device(charlie.owned_workspace, owner=device.owner)
    for url in ("/queue/", "/queue/failed/", "/queue/failed/retry/", "/queue/uncertain/", "/queue/devices/"):
        assert "Secret" not in stranger.get(url).content.decode()
    message = Message.objects.get(campaign=doubtful)
    assert stranger.get(f"/queue/uncertain/?campaign={campaign.uuid}").status_code == 404
    for action, more in (
        ("/queue/failed/retry/retry/", {}),
        ("/queue/failed/device/move/", {"to": [str(own.uuid)]}),
        ("/queue/failed/device/give_up/", {}),
    ):
        assert "Nothing was changed." in post(stranger, page, action, **more)
    assert "Nothing was changed." in post(stranger, doubts, "/queue/uncertain/give_up/", message=[message.pk])
    assert states(campaign, doubtful) == {"dead": 2, "uncertain": 1}
    foreign = {**fields_of(page, "/queue/failed/device/move/"), "to": [str(own.uuid)]}
    as_alice.post("/queue/failed/device/move/", foreign)
    assert states(campaign) == {"dead": 2}, "a foreign device sends nothing of hers"


@pytest.mark.parametrize(
    "query",
    ["?after=x", "?after=1.e.99999999999999999999", "?after=99999999.1.1", "?after=0.5.5", "?after=%00", "?after=-1"],
)
def test_hostile_addresses_show_a_page(as_alice: Client, workspace: Workspace, device: Device, query: str) -> None:
    failed_campaign(workspace, device, [SERVER])
    doubtful_campaign(workspace, device, 1)
    assert as_alice.get(f"/queue/failed/retry/{query}").status_code == 200
    assert as_alice.get(f"/queue/uncertain/{query}").status_code == 200


def test_posts_that_make_no_sense_change_nothing(as_alice: Client, workspace: Workspace, device: Device) -> None:
    campaign = failed_campaign(workspace, device, [SERVER])
    now = timezone.now().isoformat()
    for url in ("/queue/failed/nonsense/retry/", "/queue/failed/over/retry/", "/queue/uncertain/nonsense/"):
        assert as_alice.post(url, {"until": now}).status_code == 404
    for data in ({}, {"until": "never"}, {"until": now, "device": ["x", "\0"]}, {"until": now}):
        assert as_alice.post("/queue/failed/retry/retry/", data).status_code == 302
        assert as_alice.post("/queue/uncertain/give_up/", {**data, "message": ["x", "9" * 40]}).status_code == 302
    bad = {"until": now, "campaign": "x"}
    assert as_alice.post("/queue/uncertain/give_up/", bad).status_code == 404
    assert states(campaign) == {"dead": 1}


def test_only_the_newest_campaigns_are_looked_through_and_decided_about(
    as_alice: Client, workspace: Workspace, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "AT_ONCE", 2)
    old, *newest = [failed_campaign(workspace, device, [SERVER] * people) for people in (4, 1, 1)]
    page = groups_page(as_alice)
    assert "4 more failed in campaigns before" in page
    assert "2 messages will be tried again." in post(as_alice, page, "/queue/failed/retry/retry/")
    assert states(*newest) == {"pending": 2}
    assert states(old) == {"dead": 4}
    assert "4 messages will be tried again." in post(as_alice, groups_page(as_alice), "/queue/failed/retry/retry/")
