"""The people behind a campaign's figures, and what Alice decides about those that failed or are uncertain."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.live import figures, streams_of
from campaigns.models import Attempt, Campaign, CampaignState, Message, Stream, Uncertain
from campaigns.shown import LISTS
from tests.campaigns.campaign_cases import at, count_again, planned_campaign, varied_campaign, words
from tests.factories import make_campaign, make_device, make_workspace

pytestmark = pytest.mark.django_db

DECISIONS = ("retry_failed", "send_again", "assume_sent")


# ---- what failed, and what nobody knows about


def shown_fields(page: Any, dialog: str) -> dict[str, str]:
    """What the form of this dialog would post."""
    form = re.search(rf'<dialog id="{dialog}".*?</dialog>', page.content.decode(), re.DOTALL)
    assert form, dialog
    return dict(re.findall(r'<input type="hidden" name="(until|device)" value="([^"]*)">', form[0]))


def doubtful_campaign(workspace: Workspace, rounds: int = 2) -> Campaign:
    """With messages in every state, the uncertain ones with their doubts, all tried long ago."""
    campaign = varied_campaign(workspace, rounds=rounds)
    Message.objects.filter(campaign=campaign).update(attempted_at=timezone.now() - timedelta(minutes=5))
    for message in Message.objects.filter(campaign=campaign, state="uncertain").select_related("stream"):
        Uncertain.objects.create(
            workspace=workspace,
            message=message,
            device_id=message.stream.device_id,
            phone=message.phone,
            tag=b"tag",
            began_at=timezone.now() - timedelta(minutes=5),
            since=timezone.now() - timedelta(minutes=5),
        )
    return campaign


@pytest.mark.parametrize(
    ("move", "dialog", "button", "said", "before", "after"),
    [
        ("retry_failed", "campaign-retry-failed", "Retry failed (2)", "2 messages that had failed", "dead", "pending"),
        (
            "send_again",
            "campaign-send-again",
            "Send again (2)",
            "2 messages will be sent again",
            "uncertain",
            "pending",
        ),
        ("assume_sent", "campaign-assume-sent", "Count as sent (2)", "2 messages now count", "uncertain", "assumed"),
    ],
)
def test_a_decision_says_how_many_it_touches_and_is_made_once(
    workspace: Workspace, as_alice: Client, move: str, dialog: str, button: str, said: str, before: str, after: str
) -> None:
    campaign = doubtful_campaign(workspace)
    chosen = set(Message.objects.filter(campaign=campaign, state=before).values_list("pk", flat=True))
    page = as_alice.get(at("campaign", campaign))
    assert button in words(page)
    assert "This touches 2 people" in words(page)
    fields = shown_fields(page, dialog)
    first = as_alice.post(at(move, campaign), fields, headers={"HX-Request": "true"})
    assert said in words(first)
    assert button not in words(first)
    assert 'id="campaign-live"' in first.content.decode()
    assert set(Message.objects.filter(pk__in=chosen).values_list("state", flat=True)) == {after}
    second = words(as_alice.post(at(move, campaign), fields, headers={"HX-Request": "true"}))
    assert "These messages have changed since you looked" in second
    assert AuditEntry.objects.filter(target=campaign.target).count() == 1


def test_a_list_decides_about_its_own_device_only(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    campaign = doubtful_campaign(workspace, rounds=4)
    dead = Message.objects.filter(campaign=campaign, state="dead")
    assert dead.count() == 4
    device = dead[0].stream.device
    Message.objects.filter(pk=dead[1].pk).update(stream=Stream.objects.exclude(device=device).get(campaign=campaign))
    count_again(campaign)
    on_it = set(dead.filter(stream__device=device).values_list("pk", flat=True))
    assert 0 < len(on_it) < 4
    query = f"?figure=failed&device={device.uuid}"
    page = as_alice.get(at("recipients", campaign, query))
    assert f"Retry failed ({len(on_it)})" in words(page)
    assert "Send again" not in words(page)
    assert "looks-only" in as_bob.get(at("recipients", campaign, query)).content.decode()
    fields = shown_fields(page, "campaign-retry-failed")
    assert fields["device"] == str(device.uuid)
    as_alice.post(at("retry_failed", campaign), fields)
    assert set(Message.objects.filter(pk__in=on_it).values_list("state", flat=True)) == {"pending"}
    assert dead.count() == 4 - len(on_it)


@pytest.mark.parametrize("until", ["", "x", "\0", "99999-01-01", "2020-01-01T00:00:00+00:00"])
def test_a_decision_without_a_list_that_was_shown_touches_nobody(
    workspace: Workspace, as_alice: Client, until: str
) -> None:
    campaign = doubtful_campaign(workspace)
    for move in DECISIONS:
        assert as_alice.post(at(move, campaign), {"until": until}).status_code == 302
        assert as_alice.post(at(move, campaign), {"until": until, "device": "x"}).status_code == 302
    assert Message.objects.filter(campaign=campaign, state="dead").count() == 2
    assert Message.objects.filter(campaign=campaign, state="uncertain").count() == 2


def test_a_foreign_device_in_a_decision_is_not_found(workspace: Workspace, as_alice: Client) -> None:
    campaign, foreign = doubtful_campaign(workspace), make_device(make_workspace())
    for move in DECISIONS:
        sent = {"until": timezone.now().isoformat(), "device": foreign.uuid}
        assert as_alice.post(at(move, campaign), sent).status_code == 404
    assert Message.objects.filter(campaign=campaign, state="dead").count() == 2


def test_what_cannot_be_sent_any_more_says_why_and_offers_no_button(workspace: Workspace, as_alice: Client) -> None:
    campaign = doubtful_campaign(workspace)
    Stream.objects.filter(campaign=campaign).update(expires_at=timezone.now() - timedelta(hours=1))
    page = words(as_alice.get(at("campaign", campaign)))
    assert "The time to send this campaign has passed" in page
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.CANCELLED)
    page = words(as_alice.get(at("campaign", campaign)))
    assert "The campaign was cancelled: nothing of it is sent any more." in page
    assert "Retry failed" not in page
    assert "Send again" not in page
    assert "Count as sent (2)" in page


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("hold", "stay as they are until you decide"),
        ("resend", "are sent again after 1 day"),
        ("assume_sent", "count as sent after 1 day"),
    ],
)
def test_a_doubt_says_what_happens_by_itself(workspace: Workspace, as_alice: Client, policy: str, said: str) -> None:
    campaign = doubtful_campaign(workspace)
    Campaign.objects.filter(pk=campaign.pk).update(uncertain_policy=policy)
    page = words(as_alice.get(at("campaign", campaign)))
    assert "2 need a look" in page
    assert said in page


def test_what_is_assumed_is_shown_apart(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace, rounds=2)
    Message.objects.filter(campaign=campaign, state="assumed").update(reason="disconnected before the ack")
    page = as_alice.get(at("campaign", campaign))
    assert "Sent 8 2 assumed" in words(page)
    assert "2 of those sent are assumed : WhatsApp never confirmed them." in words(page)
    found = as_alice.get(at("recipients", campaign, "?figure=sent&state=assumed"))
    assert "Assumed sent Disconnected before the ack. Nobody knows; counted as sent." in words(found)
    assert [row.message.state for row in found.context["rows"]] == ["assumed", "assumed"]
    Message.objects.filter(campaign=campaign, state="assumed").update(state="sent")
    count_again(campaign)
    assert not re.search(r"\d assumed|are assumed", words(as_alice.get(at("campaign", campaign))))


def test_what_was_sent_again_says_that_it_may_have_arrived_twice(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace)
    Message.objects.filter(campaign=campaign).update(may_duplicate=True)
    for state, said in (
        ("delivered", "Sent again; may have arrived twice."),
        ("pending", "May have arrived once already."),
        ("skipped", "May have arrived once already. This person has opted out."),
    ):
        found = words(as_alice.get(at("recipients", campaign, f"?state={state}")))
        assert said in found, state
        assert ("twice" in found) == (state == "delivered")


def test_p12_the_list_shows_every_earlier_try_with_its_reason(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace)
    message = Message.objects.get(campaign=campaign, state="dead")
    for number, outcome in ((2, "refused 503: busy"), (1, "websocket not connected")):
        Attempt.objects.create(
            workspace=workspace,
            message=message,
            number=number,
            device_id=message.stream.device_id,
            tag=b"tag",
            epoch=1,
            started_at=timezone.now() - timedelta(hours=3 - number),
            outcome=outcome,
        )
    found = words(as_alice.get(at("recipients", campaign, "?figure=failed")))
    assert re.search(r"2 earlier tries .*Websocket not connected.*WhatsApp refused it \(error 503\): busy", found)


def test_a_message_that_is_tried_again_is_shown_as_it_would_read_now(workspace: Workspace, as_alice: Client) -> None:
    campaign = doubtful_campaign(workspace, rounds=1)
    Message.objects.filter(campaign=campaign, state="dead").update(text="The old text")
    as_alice.post(at("text", campaign), {"text": "New {{ name }}"})
    as_alice.post(at("retry_failed", campaign), {"until": timezone.now().isoformat()})
    found = words(as_alice.get(at("recipients", campaign, "?figure=remaining&state=pending")))
    assert "The old text" not in found


# ---- the people behind the figures


def walked(client: Client, campaign: Campaign, query: str) -> list[int]:
    """The message ids of the whole list, page by page."""
    found: list[int] = []
    url = at("recipients", campaign, query)
    while True:
        context = client.get(url).context
        found += [row.message.pk for row in context["rows"]]
        if not context["following"]:
            assert context["total"] == len(found)
            return found
        url = at("recipients", campaign, f"{query}&after={context['following']}")


def test_every_figure_is_the_length_of_the_list_behind_it(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace, rounds=7)
    erased = Message.objects.filter(campaign=campaign).order_by("-pk")[:3]
    for message in erased:
        Message.objects.filter(pk=message.pk).update(contact=None)
    streams = streams_of([campaign])[campaign.pk]
    live = as_alice.get(at("campaign", campaign)).content.decode()
    for figure in LISTS:
        found = walked(as_alice, campaign, f"?figure={figure}")
        assert len(found) == len(set(found)) == figures(streams)[figure], figure
        assert f"?figure={figure}" in live
        for stream in streams:
            behind = walked(as_alice, campaign, f"?figure={figure}&device={stream.device.uuid}")
            assert len(behind) == figures([stream])[figure]
    counts = figures(streams)
    parts = ("sent", "failed", "remaining", "skipped", "uncertain")
    assert counts["should"] == sum(counts[part] for part in parts) == campaign.recipients == 84


def test_a_list_is_narrowed_by_state(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace, rounds=2)
    assert len(walked(as_alice, campaign, "?figure=remaining&state=waiting")) == 2
    assert len(walked(as_alice, campaign, "?figure=remaining&state=sent")) == 6
    assert len(walked(as_alice, campaign, "?figure=replied&state=sent")) == 2


def test_each_row_says_person_number_state_reason_and_text(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace)
    sent = Message.objects.get(campaign=campaign, state="sent")
    found = words(as_alice.get(at("recipients", campaign, "?figure=sent&state=sent")))
    assert sent.contact is not None
    for said in (sent.contact.name, sent.phone, "Sent", "WhatsApp has it", sent.stream.device.name, "Word for word"):
        assert said in found
    pending = words(as_alice.get(at("recipients", campaign, "?figure=remaining&state=pending")))
    waiting = Message.objects.get(state="pending").contact
    assert waiting is not None
    assert f"Hello {waiting.name}" in pending
    assert "As it would read now." in pending
    assert "This person has opted out." in words(as_alice.get(at("recipients", campaign, "?figure=skipped")))


@pytest.mark.parametrize("query", ["?figure=nonsense", "?after=x", "?device=1", "?state=%00", "?after=" + "9" * 30])
def test_a_query_that_makes_no_sense_is_the_whole_list(workspace: Workspace, as_alice: Client, query: str) -> None:
    campaign = planned_campaign(workspace)
    answer = as_alice.get(at("recipients", campaign, query))
    assert answer.status_code == 200
    assert len(answer.context["rows"]) == 4


def test_a_campaign_is_found_by_its_uuid_only(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    assert as_alice.get(f"/campaigns/{campaign.pk}/").status_code == 404
