"""The report: every figure is the length of the list it leads to, and what it says of differences is true."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import ExtractHour
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.engine.proportions import Share
from campaigns.live import streams_of
from campaigns.models import Attempt, Campaign, CampaignState, Message, Reply, Stream
from campaigns.outbox.claim import SKIPPED_BY
from campaigns.querysets.report import at_hour
from campaigns.recipients import asked_list, length_of, messages_behind
from campaigns.report import compared
from campaigns.shown import REASONS, rule_in_words
from devices.models import Device, DeviceEvent
from tests.campaigns.campaign_cases import at, count_again, planned_campaign, varied_campaign, words
from tests.campaigns.report_cases import DAY, told_campaign
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db

LINKED = re.compile(r'<a[^>]*href="(?P<url>/campaigns/[0-9a-f-]+/recipients/[^"]*)"[^>]*>\s*(?P<count>[\d,]+)\s*<')


@pytest.fixture(autouse=True)
def _no_report_is_kept() -> None:
    cache.clear()


def linked(page: Any) -> list[tuple[str, int]]:
    """Each number on the page that is a link, with its address."""
    found = LINKED.finditer(page.content.decode())
    return [(unescape(link["url"]), int(link["count"].replace(",", ""))) for link in found]


def length(client: Client, url: str) -> int:
    """Of the whole list, page by page; the page's own number is the same."""
    found: set[int] = set()
    following = ""
    while True:
        context = client.get(f"{url}&after={following}" if following else url).context
        rows = [row.message.pk for row in context["rows"]]
        assert not found & set(rows)
        found |= set(rows)
        following = context["following"]
        if not following:
            assert context["total"] == len(found), url
            return len(found)


def rows_behind(campaign: Campaign, url: str) -> int:
    """As `length`, without the pages."""
    devices = Device.objects.filter(campaign_links__campaign=campaign)
    asked = asked_list(QueryDict(url.partition("?")[2]), devices)
    rows = messages_behind(campaign, asked).count()
    assert length_of(campaign, asked, streams_of([campaign])[campaign.pk]) == rows, url
    return rows


# ---- figures and lists


def test_13_every_figure_of_the_report_is_the_length_of_its_list(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    figures = [*linked(as_alice.get(at("report", campaign))), *linked(as_alice.get(at("report_details", campaign)))]
    asked = {key for url, _ in figures for key in re.findall(r"[?&](\w+)=", url)}
    assert asked == {"figure", "device", "variant", "hour", "state", "reason"}
    assert len(figures) > 40
    for url, count in figures:
        assert rows_behind(campaign, url) == count, url
    for url, count in figures[::6]:
        assert length(as_alice, url) == count, url


def test_13_figures_stay_true_while_messages_move(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    for before, after, reason in (
        ("pending", "dead", "template: no name"),
        ("sent", "delivered", ""),
        ("dead", "read", ""),
    ):
        Message.objects.filter(campaign=campaign, state=before).update(
            state=after, reason=reason, delivered_at=timezone.now(), read_at=timezone.now()
        )
        count_again(campaign)
        cache.clear()
        for page in ("report", "report_details"):
            for url, count in linked(as_alice.get(at(page, campaign))):
                assert rows_behind(campaign, url) == count, (after, url)


def test_the_short_way_through_a_large_campaign_finds_the_same_people(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = told_campaign(workspace)
    device = Stream.objects.filter(campaign=campaign)[0].device
    queries = [
        f"?figure={figure}{more}"
        for figure in ("remaining", "failed", "skipped", "uncertain", "replied")
        for more in ("", f"&device={device.uuid}", "&variant=2")
    ]
    queries += ["?figure=remaining&state=waiting", "?figure=remaining&state=sending", "?figure=skipped&state=expired"]
    queries += ["?figure=sent&hour=9", "?figure=read&hour=10", "?figure=read&hour=9", "?figure=sent&hour=unknown"]
    for stream in Stream.objects.filter(campaign=campaign):
        Stream.objects.filter(pk=stream.pk).update(next_due=stream.messages.order_by("due_at")[0].due_at, next_id=0)
        sending = stream.messages.filter(state="sending").order_by("pk")
        Message.objects.filter(pk__in=[message.pk for message in sending[1:]]).update(state="sent")
    sending = Message.objects.filter(campaign=campaign, state="sending")
    Message.objects.filter(pk__in=[message.pk for message in sending.filter(stream__variant=2)]).update(state="sent")
    for message in sending:
        Device.objects.filter(pk=message.stream.device_id).update(open_message=message.pk)
    count_again(campaign)

    def walked(query: str) -> list[int]:
        found, url = [], at("recipients", campaign, query)
        while True:
            context = as_alice.get(url).context
            found += [row.message.pk for row in context["rows"]]
            if not context["following"]:
                return found
            url = at("recipients", campaign, f"{query}&after={context['following']}")

    long_way = {query: walked(query) for query in queries}
    monkeypatch.setattr("campaigns.recipients.LARGE", 0)
    monkeypatch.setattr("campaigns.recipient_pages.PAGE", 3)
    for query in queries:
        assert walked(query) == long_way[query], query
    assert [query for query in queries if not long_way[query]] == ["?figure=read&hour=9"]
    erased = Message.objects.filter(campaign=campaign, state="dead")[0]
    Message.objects.filter(pk=erased.pk).update(contact=None)
    assert walked("?figure=failed")[-1] == erased.pk


def test_what_remains_of_a_large_campaign_stands_in_the_order_in_which_it_leaves(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.recipients.LARGE", 0)
    monkeypatch.setattr("campaigns.recipient_pages.PAGE", 3)
    campaign = planned_campaign(workspace, people=8, devices=2)
    messages = list(campaign.messages.order_by("pk"))
    for place, message in enumerate(messages):
        message.due_at = DAY + timedelta(microseconds=(place * 3) % 8)  # 0 3 6 1 4 7 2 5
    Message.objects.bulk_update(messages, ["due_at"])
    Stream.objects.filter(campaign=campaign).update(next_due=DAY, next_id=0)
    found, after = [], ""
    for _ in range(3):
        context = as_alice.get(at("recipients", campaign, f"?figure=remaining&after={after}")).context
        found += [row.message.due_at for row in context["rows"]]
        after = context["following"]
    assert found == [DAY + timedelta(microseconds=place) for place in range(8)]
    assert after == ""
    for key in ("turn-1-", "turn-99999999999999999-999999999999999999", "turn-٣-1", "turn-123456789012345678-1", "7"):
        page = as_alice.get(at("recipients", campaign, "?figure=remaining"), {"figure": "remaining", "after": key})
        assert len(page.context["rows"]) == (0 if key.startswith("turn-9") else 3)


def test_a_list_read_after_its_counter_moved_shows_what_it_holds(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, people=3, devices=1)
    Stream.objects.filter(campaign=campaign).update(pending=2, sent=1)  # settled between the two looks
    context = as_alice.get(at("recipients", campaign, "?figure=remaining")).context
    assert context["total"] == len(context["rows"]) == 3
    assert ("remaining", "Remaining", 3) in context["lists"]


def test_the_parts_of_the_report_add_up(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    context = as_alice.get(at("report", campaign)).context
    for name in ("should", "sent", "failed", "remaining", "skipped", "uncertain", "delivered", "read", "replied"):
        nobodys = 8 if name in ("should", "skipped") else 0  # those held out
        assert context["nobodys"][name] == nobodys
        assert sum(row.figures[name] for row in context["devices"]) == context["figures"][name] - nobodys
        assert sum(row.figures[name] for row in context["variants"]) == context["figures"][name] - nobodys
    details = as_alice.get(at("report_details", campaign)).context
    for figure in ("failed", "skipped", "uncertain"):
        assert sum(row.count for row in details["reasons"] if row.figure == figure) == context["figures"][figure]
    hours = {one.key: one.total for one in details["by_hour"].series}
    unknown = {word: count for word, count, _ in details["unknown_hours"]}
    for step in ("sent", "delivered", "read", "replied"):
        assert hours[step] + unknown.get(step, 0) == context["figures"][step]


def test_whoever_was_held_out_is_at_no_variant_and_no_device(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    page = as_alice.get(at("report", campaign))
    assert [row.figures["should"] for row in page.context["variants"]] == [48, 48]
    assert "8 people got no variant" in words(page)
    assert [row.figures["should"] for row in page.context["devices"]] == [48, 48]
    nobodys = at("recipients", campaign, "?device=none")
    assert nobodys in page.content.decode()
    assert length(as_alice, nobodys) == 8
    assert "them. none What happened" in words(as_alice.get(nobodys))
    assert length(as_alice, at("recipients", campaign, "?variant=1")) == 48
    assert "No device" in words(as_alice.get(at("recipients", campaign)))
    plain = planned_campaign(workspace, people=1)
    assert "variant" not in words(as_alice.get(at("report", plain)))
    assert "variant" not in words(as_alice.get(at("recipients", plain)))


def test_the_live_page_has_a_row_for_each_device_however_many_variants(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    rows = as_alice.get(at("campaign", campaign)).context["device_rows"]
    assert len({row.device.pk for row in rows}) == len(rows) == 2
    assert sum(row.figures["should"] for row in rows) == 96  # 8 more are at none
    assert [row.figures["sent"] for row in rows] == [16, 16]


def test_hours_are_those_of_the_workspace(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    chart = as_alice.get(at("report_details", campaign)).context["by_hour"]
    found = {one.key: {place: count for place, count in enumerate(one.counts) if count} for one in chart.series}
    assert found == {"sent": {9: 12}, "delivered": {9: 8}, "read": {10: 4}, "replied": {12: 4}}
    workspace.timezone = "Asia/Kathmandu"  # 2 h 15 min behind
    workspace.save()
    chart = as_alice.get(at("report_details", campaign)).context["by_hour"]
    assert {place: count for place, count in enumerate(chart.series[0].counts) if count} == {6: 12}
    assert length(as_alice, at("recipients", campaign, "?figure=sent&hour=6")) == 12
    assert length(as_alice, at("recipients", campaign, "?figure=delivered&hour=7")) == 8


@pytest.mark.parametrize(
    ("zone", "clocks_change"),
    [
        ("Asia/Kathmandu", datetime(2026, 10, 25, tzinfo=UTC)),
        ("Europe/Lisbon", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ],
)
def test_an_hour_asked_for_by_times_is_the_hour_on_the_clock(
    workspace: Workspace, zone: str, clocks_change: datetime
) -> None:
    workspace.timezone = zone
    workspace.save()
    campaign = planned_campaign(workspace, people=48, devices=1)
    messages = list(campaign.messages.order_by("pk"))
    for place, message in enumerate(messages):
        message.sent_at = clocks_change + (place - 24) * timedelta(minutes=15, microseconds=1)
    Message.objects.bulk_update(messages, ["sent_at"])
    clock = Counter(message.sent_at.astimezone(workspace.zone).hour for message in messages if message.sent_at)
    asked = campaign.messages.annotate(hour=ExtractHour("sent_at", tzinfo=workspace.zone))
    for since, until in ((-99, 99), (-2, 2)):  # by times all, and by the clock what is before and after
        span = clocks_change + timedelta(hours=since), clocks_change + timedelta(hours=until)
        found = {hour: asked.filter(at_hour("sent", hour, workspace.zone, *span)).count() for hour in range(24)}
        assert found == {hour: clock[hour] for hour in range(24)}


def test_reasons_are_plain_sentences(workspace: Workspace, as_alice: Client) -> None:
    said = words(as_alice.get(at("report_details", told_campaign(workspace))))
    for sentence in (
        "WhatsApp refused it (error 479): SmaxInvalid",
        "Timed out waiting for the ack",
        "This person has opted out.",
        "Held out: this person gets nothing",
        "The campaign's time to send had passed.",
        "The campaign was cancelled.",
        "Yes please",
    ):
        assert sentence in unescape(said), sentence


def test_the_page_asks_no_question_about_messages(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        as_alice.get(at("report", campaign))
    assert not [query["sql"] for query in queries if "campaigns_message" in query["sql"]]
    assert len(queries) < 20


def test_details_of_many_are_kept_while_it_runs_and_reckoned_once_when_it_is_over(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = planned_campaign(workspace, people=3, devices=1)
    page = at("report_details", campaign)

    def reads_messages() -> bool:
        with CaptureQueriesContext(connection) as queries:
            as_alice.get(page)
        return any("FROM campaigns_message" in query["sql"] for query in queries)

    assert reads_messages()
    assert reads_messages()
    monkeypatch.setattr("campaigns.report.SMALL", 0)
    assert reads_messages()
    Message.objects.filter(campaign=campaign).update(state="sent", sent_at=DAY)
    count_again(campaign)
    assert not reads_messages()
    key = f"campaign-report:{campaign.pk}"
    age(key, 31)
    assert reads_messages()
    age(key, 3600)
    assert not reads_messages()
    Stream.objects.filter(campaign=campaign).update(sent=2, delivered=1)
    assert reads_messages()


def age(key: str, seconds: int) -> None:
    """The kept report was made so much earlier."""
    kept = cache.get(key)
    kept["at"] = (timezone.now() - timedelta(seconds=seconds)).isoformat()
    cache.set(key, kept, 600)


def test_a_report_of_nothing_is_still_a_report(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, people=0)
    assert "Should" in words(as_alice.get(at("report", campaign)))
    said = words(as_alice.get(at("report_details", campaign)))
    assert "Nothing was sent yet." in said
    assert "Nobody failed, was skipped or is uncertain." in said
    assert as_alice.get(at("report", make_campaign(workspace))).status_code == 302


# ---- what differences say


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            Share(124, 1000),
            Share(81, 1000),
            "More replied with A than with B: the true difference is 1.6 to 6.9 points",
        ),
        (
            Share(81, 1000),
            Share(124, 1000),
            "More replied with B than with A: the true difference is 1.6 to 6.9 points",
        ),
        (Share(5, 40), Share(3, 42), "That is too close to tell"),
        (Share(0, 0), Share(3, 42), ""),
        (Share(1, 1), Share(0, 1), "That is too close to tell"),
        (Share(0, 500), Share(0, 500), "That is too close to tell"),
    ],
)
def test_a_difference_is_told_only_where_there_is_one(one: Share, other: Share, said: str) -> None:
    found = compared(one, other, "A", "B", "replied")
    assert (said in found) if said else not found


def test_variants_are_compared_by_their_replies(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    page = words(as_alice.get(at("report", campaign)))
    assert "25.0 % of 16 people replied with variant A, 25.0 % of 16 people with variant B." in page
    assert "too close to tell" in page
    sent = Message.objects.filter(campaign=campaign, stream__variant=1, state="sent")
    Message.objects.filter(pk__in=sent.values("pk")).update(state="read", replied_at=DAY, read_at=DAY)
    Stream.objects.filter(campaign=campaign, variant=1).update(sent=200, replied=180)
    Stream.objects.filter(campaign=campaign, variant=2).update(sent=200, replied=20)
    assert "More replied with variant A than with variant B" in words(as_alice.get(at("report", campaign)))


def test_the_held_out_are_compared_by_the_same_measure(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    held = [message.contact for message in Message.objects.filter(campaign=campaign, reason="hold_out")[:3]]
    for number, contact in enumerate(held):
        assert contact is not None
        for again in range(2):
            Reply.objects.create(
                workspace=workspace,
                device=make_device(workspace),
                contact=contact,
                chat="chat",
                wire_id=f"of-itself-{number}-{again}",
                at=DAY + timedelta(days=number if again else -1),
            )
    got = Message.objects.filter(campaign=campaign, state="delivered")[0].contact
    assert got is not None
    for contact, day in ((got, 1), (held[0], 2), (held[1], -2)):
        assert contact is not None
        contact.opted_out_at = DAY + timedelta(days=day)
        contact.save()
    hold_out = as_alice.get(at("report_details", campaign)).context["hold_out"]
    assert (hold_out.held.people, hold_out.held.wrote, hold_out.held.left) == (8, 3, 1)
    assert (hold_out.written.people, hold_out.written.wrote, hold_out.written.left) == (32, 8, 1)
    assert "too close to tell" in hold_out.replies


# ---- what became of one message


def story(client: Client, message: Message) -> str:
    return unescape(words(client.get(reverse("campaigns:recipient", args=[message.pk]))))


def test_a_message_tells_its_story_in_order(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    message = Message.objects.filter(campaign=campaign, state="read").select_related("stream__device")[0]
    device, other = message.stream.device, make_device(workspace, name="The old number")
    message.attempts = 2
    message.save()
    Attempt.objects.create(
        workspace=workspace, message=message, number=1, device_id=other.pk, tag=b"tag", epoch=1,
        started_at=DAY + timedelta(hours=2), outcome="websocket not connected",
    )  # fmt: skip
    DeviceEvent.objects.create(
        workspace=workspace, device=device, kind="held", detail="refused 463 for 21600 s", at=DAY + timedelta(hours=3)
    )
    found = story(as_alice, message)
    order = (
        "The campaign was started",
        "Try 1 by The old number Websocket not connected",
        f"{device.name}: held",
        f"Try 2 by {device.name} It was sent.",
        "It reached their phone",
        "They read it",
        "They answered",
        "Yes please",
    )
    places = [found.find(said) for said in order]
    assert -1 not in places, found
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("skipped", "The rule that decided. Asked at the moment of sending: nothing goes to whoever has opted out."),
        ("expired", "The rule that decided. The campaign has an end"),
        ("cancelled", "Somebody cancelled the campaign"),
        ("dead", "WhatsApp refused it (error 479): SmaxInvalid"),
        ("uncertain", "Timed out waiting for the ack. Nobody knows whether it left."),
        ("waiting", "It waits for this:"),
        ("pending", "It waits for this:"),
        ("assumed", "Nobody knows; counted as sent."),
    ],
)
def test_every_end_has_its_words(workspace: Workspace, as_alice: Client, state: str, said: str) -> None:
    campaign = told_campaign(workspace, rounds=1)
    message = Message.objects.filter(campaign=campaign, state=state).exclude(reason="hold_out")[0]
    assert said in story(as_alice, message)


def test_what_a_message_waits_for_is_named(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    message = Message.objects.filter(campaign=campaign, state="pending")[0]
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.PAUSED)
    message.stream.device.state = "offline"
    message.stream.device.save()
    found = story(as_alice, message)
    assert "The campaign is paused." in found
    assert f"{message.stream.device.name}: It is not online." in found


@pytest.mark.parametrize("reason", [*SKIPPED_BY, "quiet_hours", "silence"])
def test_each_rule_of_the_claim_is_told_in_words(reason: str) -> None:
    assert REASONS[reason].endswith(".")
    assert rule_in_words(reason)


def test_a_strangers_message_and_one_without_a_campaign_are_not_found(workspace: Workspace, as_alice: Client) -> None:
    theirs = planned_campaign(make_workspace(), people=1).messages.get()
    assert as_alice.get(reverse("campaigns:recipient", args=[theirs.pk])).status_code == 404
    own = planned_campaign(workspace, people=1).messages.get()
    Message.objects.filter(pk=own.pk).update(campaign=None)
    assert as_alice.get(reverse("campaigns:recipient", args=[own.pk])).status_code == 404


def test_an_erased_person_keeps_a_story_without_a_name(workspace: Workspace, as_alice: Client) -> None:
    campaign = varied_campaign(workspace)
    Message.objects.filter(campaign=campaign).update(contact=None)
    for message in Message.objects.filter(campaign=campaign):
        assert "erased since" in story(as_alice, message)


# ---- retrying what failed


def confirmed(page: Any) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(
        r'<input type="hidden" name="(until|device|reason)" value="([^"]*)">', page.content.decode()
    )}  # fmt: skip


def test_14_retrying_by_reason_touches_exactly_those_rows_once(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    dead = Message.objects.filter(campaign=campaign, state="dead")
    awkward = 'refused 463: <b>"a&b"</b>'
    chosen = set(dead.order_by("pk").values_list("pk", flat=True)[:3])
    Message.objects.filter(pk__in=chosen).update(reason=awkward)
    page = as_alice.get(reverse("campaigns:retry_confirm", args=[campaign.uuid]), {"reason": awkward})
    assert "Retry 3 messages" in words(page)
    assert (
        f"reason={'refused%20463%3A%20%3Cb%3E%22a%26b%22%3C%2Fb%3E'}"
        in as_alice.get(at("report_details", campaign)).content.decode()
    )
    later = dead.exclude(pk__in=chosen).order_by("pk")[0]
    Message.objects.filter(pk=later.pk).update(reason=awkward, dead_at=timezone.now() + timedelta(seconds=5))
    fields = confirmed(page)
    assert set(fields) == {"until", "reason"}
    assert "3 messages that had failed" in words(as_alice.post(at("retry_failed", campaign), fields, follow=True))
    assert (
        set(Message.objects.filter(campaign=campaign, attempts=1, state="pending").values_list("pk", flat=True))
        == chosen
    )
    assert "Nothing was retried" in words(as_alice.post(at("retry_failed", campaign), fields, follow=True))
    assert dead.count() == 5


def test_retrying_by_device_and_reason_asks_with_the_exact_number(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    device = Stream.objects.filter(campaign=campaign)[0].device
    confirm = reverse("campaigns:retry_confirm", args=[campaign.uuid])
    assert "Retry 8 messages" in words(as_alice.get(confirm))
    page = as_alice.get(confirm, {"device": str(device.uuid), "reason": "refused 479: SmaxInvalid"})
    assert "Retry 4 messages" in words(page)
    assert device.name in words(page)
    as_alice.post(at("retry_failed", campaign), confirmed(page))
    assert "No failed message is left here" in words(as_alice.get(confirm, {"device": str(device.uuid)}))
    assert "Retry 4 messages" in words(as_alice.get(confirm))
    assert as_alice.get(confirm, {"device": str(make_device(make_workspace()).uuid)}).status_code == 404
    assert as_alice.get(confirm, {"device": "x"}).status_code == 404
    assert as_alice.get(confirm, {"reason": "\0"}).status_code == 404


def test_what_cannot_be_retried_says_why(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.CANCELLED)
    page = words(as_alice.get(reverse("campaigns:retry_confirm", args=[campaign.uuid])))
    assert "The campaign was cancelled" in page
    assert "Retry 4" not in page


def test_a_viewer_sees_no_buttons_that_change_things(workspace: Workspace, as_bob: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    pages = words(as_bob.get(at("report", campaign))) + words(as_bob.get(at("report_details", campaign)))
    pages += words(as_bob.get(at("recipients", campaign, "?figure=failed&reason=x")))
    for button in ("Retry", "Export", "Write to some of them again"):
        assert button not in pages


# ---- files


def rows_of(answer: Any) -> list[list[str]]:
    content = b"".join(answer.streaming_content)
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_the_list_is_exported_as_it_is_narrowed(
    workspace: Workspace, alice: User, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.views.recipients.EXPORTED_AT_ONCE", 5)
    campaign = told_campaign(workspace)
    message = Message.objects.filter(campaign=campaign, state="read", stream__variant=2).select_related("contact")[0]
    assert message.contact is not None
    message.contact.name = "=HYPERLINK(1)"
    message.contact.save()
    head, *rows = rows_of(as_alice.post(at("recipients_export", campaign), {"figure": "sent", "variant": "2"}))
    assert len(rows) == length(as_alice, at("recipients", campaign, "?figure=sent&variant=2")) == 16
    row = dict(zip(head, next(row for row in rows if row[0] == f"'{message.phone}"), strict=True))
    assert row["Name"] == "'=HYPERLINK(1)"
    assert row["Text"] == "'@Word for word"
    assert (row["Variant"], row["State"], row["Device"]) == ("B", "Read", message.stream.device.name)
    assert row["Sent"] == "2026-11-20T09:00:00+08:00"
    assert row["Replied"] == "2026-11-21T12:45:00+08:00"
    entry = AuditEntry.objects.get(action="campaign.recipients_exported")
    assert (entry.actor, entry.target) == (alice, campaign.target)
    assert entry.detail == {"people": 16, "figure": "sent", "variant": "2"}


def test_an_export_is_asked_for_by_a_manager(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    assert as_bob.post(at("recipients_export", campaign)).status_code == 403
    assert as_alice.get(at("recipients_export", campaign)).status_code == 405
    answer = as_alice.post(
        at("recipients_export", campaign), {"figure": "failed", "reason": "refused 479: SmaxInvalid"}
    )
    assert answer.headers["Content-Disposition"] == 'attachment; filename="_Sale_ Kuala Lumpur - failed.csv"'
    assert len(rows_of(answer)) == 5


@pytest.mark.parametrize("table", ["funnel", "devices", "variants", "hours", "reasons"])
def test_each_table_is_a_file(workspace: Workspace, as_bob: Client, table: str) -> None:
    campaign = told_campaign(workspace, rounds=1)
    head, *rows = rows_of(as_bob.get(reverse("campaigns:report_export", args=[campaign.uuid, table])))
    assert all(len(row) == len(head) for row in rows)
    assert len(rows) == {"funnel": 9, "devices": 3, "variants": 2, "hours": 24, "reasons": 6}[table]
    assert as_bob.get(reverse("campaigns:report_export", args=[campaign.uuid, "nonsense"])).status_code == 404


# ---- narrowing


@pytest.mark.parametrize(
    ("query", "people"),
    [
        ("?figure=sent&replied=yes", 4),
        ("?figure=sent&replied=no", 12),
        ("?figure=delivered&hour=9", 8),
        ("?figure=delivered&hour=10", 0),
        ("?figure=skipped&reason=hold_out", 4),
        ("?figure=skipped&reason=hold_out&variant=1", 0),
        ("?figure=skipped&reason=hold_out&device=none", 4),
        ("?figure=sent&hour=unknown", 4),
        ("?figure=should&reason=-", 24),
        ("?figure=sent&hour=99", 16),
        ("?figure=failed&hour=9", 4),
        ("?figure=sent&variant=99999", 16),
        ("?figure=sent&variant=7", 0),
        ("?figure=sent&replied=perhaps", 16),
    ],
)
def test_a_list_is_narrowed_by_each_filter(workspace: Workspace, as_alice: Client, query: str, people: int) -> None:
    assert length(as_alice, at("recipients", told_campaign(workspace, rounds=1), query)) == people


def test_hostile_filters_find_nobody(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace, rounds=1)
    for query in ("?reason=%00%27;--", "?reason=" + "x" * 5000, "?variant=%D9%A1", "?hour=%00", "?device=%00"):
        assert as_alice.get(at("recipients", campaign, query)).status_code == 200
    assert make_contact(workspace).messages.count() == 0
