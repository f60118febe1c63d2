"""Campaign Summary and Device Report: every figure is the sum of its rows and the length of the list it leads to."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.live import streams_of
from campaigns.models import NOBODYS, Attempt, Campaign, DayMeter, HourMeter, Lane, Message, Stream
from campaigns.querysets.launched import FIGURE_SQL, SORTS
from campaigns.querysets.report import REASONED
from campaigns.recipients import asked_list, length_of, messages_behind
from campaigns.shown import LISTS
from devices.models import Device
from monitoring.summary import SORTED_BY, change
from tests.campaigns.campaign_cases import count_again, varied_campaign, words
from tests.factories import make_campaign, make_device, make_host
from tests.monitoring.report_cases import figures_in, launched_at, told_workspace

pytestmark = pytest.mark.django_db
SUMMARY, REPORT = "/dashboard/campaigns", "/dashboard/devices"


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def started(workspace: Workspace, device: Device, days_ago: float = 0, name: str = "Sale", **counts: int) -> Campaign:
    """With counters only."""
    campaign = launched_at(make_campaign(workspace, name=name, state="running"), days_ago)
    Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, **counts)
    return campaign


def people_behind(url: str) -> int:
    """The length of a list of a campaign's people, and the same by its counters."""
    campaign = Campaign.objects.get(uuid=url.split("/")[2])
    streams = streams_of([campaign])[campaign.pk]
    devices = Device.objects.filter(pk__in={stream.device_id for stream in streams})
    asked = asked_list(QueryDict(urlsplit(url).query), devices)
    rows = messages_behind(campaign, asked).count()
    assert length_of(campaign, asked, streams) == rows, url
    return rows


def figure_of(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("figure", [""])[0]


def behind(client: Client, url: str, known: dict[str, int]) -> int:
    """What a figure's link leads to: people, or a list of campaigns whose own figures are looked behind in turn."""
    if url not in known and url.startswith("/campaigns/"):
        known[url] = people_behind(url)
    elif url not in known:
        html = page(client, url)
        rows = [row for row in figures_in(html, "report-rows") if figure_of(row[0]) == figure_of(url)]
        assert len(rows) == html.count('class="report-name"'), f"{url} lists campaigns without this figure"
        assert all(value for _, value in rows), f"{url} lists campaigns without any"
        known[url] = sum(behind(client, row, known) for row, _ in rows)
    return known[url]


# ---- truth


def every_figure_is_true(client: Client, pages: list[str]) -> None:
    """Of the links to lists of campaigns, which are pages again, each page has others looked behind."""
    known: dict[str, int] = {}
    for number, url in enumerate(pages):
        html = page(client, url)
        totals, rows = figures_in(html, "report-totals")[1:], figures_in(html, "report-rows")
        assert len(rows) >= 2 * len(totals) > 0
        assert sum(value > 0 for _, value in totals) >= 6, "mostly empty lists would prove little"
        for place, (link, value) in enumerate([*totals, *rows]):
            if link.startswith("/campaigns/") or (place + number) % 6 == 0:
                assert behind(client, link, known) == value, (url, link)
        of_totals = {figure_of(link): value for link, value in totals}
        sums = {key: sum(value for link, value in rows if figure_of(link) == key) for key in of_totals}
        assert sums == of_totals, url
        assert of_totals["should"] == sum(
            of_totals[key] for key in ("sent", "failed", "remaining", "skipped", "uncertain") if key in of_totals
        )


def test_13_every_figure_is_the_sum_of_its_rows_and_the_length_of_its_list_while_messages_move(
    workspace: Workspace, as_alice: Client
) -> None:
    campaigns, devices = told_workspace(workspace)
    pages = [SUMMARY, f"{SUMMARY}?range=30", REPORT, f"{REPORT}/{devices[0].uuid}"]
    every_figure_is_true(as_alice, pages)
    both = [dict(figures_in(page(as_alice, url), "report-totals")[1:]) for url in (SUMMARY, REPORT)]
    assert both[0] == both[1]
    everybody = Message.objects.filter(campaign__in=campaigns[:3])
    assert both[0][f"{SUMMARY}?range=7&figure=should"] == everybody.count()
    assert everybody.filter(reason="hold_out").exists(), "who is held out is counted, and once"
    for campaign in campaigns:
        for before, after in (("pending", "dead"), ("uncertain", "read"), ("sent", "delivered")):
            Message.objects.filter(campaign=campaign, state=before).update(state=after, reason="")
        count_again(campaign)
    every_figure_is_true(as_alice, pages[2:])


def test_the_only_campaign_is_led_to_directly(workspace: Workspace, as_alice: Client) -> None:
    campaign = launched_at(varied_campaign(workspace), 0)
    for url in (SUMMARY, REPORT):
        for link, value in figures_in(page(as_alice, url), "report-totals")[1:]:
            assert link.startswith(f"/campaigns/{campaign.uuid}/recipients/?figure=")
            assert people_behind(link) == value


def test_a_campaign_of_several_variants_is_one_at_each_device(workspace: Workspace, as_alice: Client) -> None:
    shop, stall = make_device(workspace, name="Shop"), make_device(workspace, name="Stall")
    campaign = started(workspace, shop, variant=1, sent=1)
    for device, variant, counts in ((shop, 2, {"sent": 2}), (stall, 2, {"sent": 4}), (stall, NOBODYS, {"skipped": 8})):
        Stream.objects.create(
            workspace=workspace, campaign=campaign, device=device, variant=variant, lane=Lane.CAMPAIGN, **counts
        )
    started(workspace, shop, sent=16)
    launched_at(make_campaign(workspace, state="running"), 0)  # not planned yet
    found = as_alice.get(REPORT).context["found"]
    assert [(line.campaigns, line.figures["sent"]) for line in found.lines] == [(2, 19), (1, 4)]
    assert {cell.key: cell.value for cell in found.no_device}["skipped"] == 8
    assert (found.totals.campaigns, found.totals.figures["should"]) == (3, 31)
    (line,) = as_alice.get(f"{REPORT}/{stall.uuid}").context["found"].lines
    assert {cell.key: cell.value for cell in line.cells}["should"] == 4


def test_reasons_are_summed_over_campaigns_and_lead_to_their_people(workspace: Workspace, as_alice: Client) -> None:
    (told, varied, alone, _), devices = told_workspace(workspace)
    for url, at in (
        (f"{SUMMARY}/charts", None),
        (f"{REPORT}/charts", None),
        (f"{REPORT}/{devices[0].uuid}/charts", devices[0]),
    ):
        answer = as_alice.get(url)
        rows = answer.context["reasons"].rows
        found = Message.objects.filter(campaign__in=[told, varied, alone])
        found = found.filter(stream__device=at).exclude(stream__variant=NOBODYS) if at else found
        assert sum(row.count for row in rows) == found.filter(state__in=REASONED).count() > 0
        assert {row.word for row in rows} == {"Failed", "Uncertain", "Skipped", "Expired", "Cancelled"}
        assert all(row.where for row in rows)
        for row in rows:
            assert row.count == sum(people_behind(one.url) for _, one in row.where)
    assert "This person has opted out." in words(answer)


def test_reasons_are_bounded_and_kept_until_the_counters_move(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = varied_campaign(workspace), varied_campaign(workspace, rounds=2)
    unreached = Message.objects.filter(campaign=small, state__in=REASONED).count()
    monkeypatch.setattr("monitoring.reasons.MOST_MESSAGES", unreached)
    answer = as_alice.get(f"{SUMMARY}/charts")
    first = answer.context["reasons"]
    assert (first.campaigns, first.left_out) == (1, 1)
    assert "1 more is not looked through here" in words(answer)
    with CaptureQueriesContext(connection) as queries:
        assert as_alice.get(f"{SUMMARY}/charts").context["reasons"].at == first.at
    assert not [query for query in queries.captured_queries if "campaigns_message" in query["sql"]]
    monkeypatch.setattr("monitoring.reasons.KEPT_S", 0)
    monkeypatch.setattr("monitoring.reasons.MOST_MESSAGES", 1_000)
    assert as_alice.get(f"{SUMMARY}/charts").context["reasons"].campaigns == 2
    assert large.recipients > small.recipients


# ---- which days


def test_a_campaign_counts_on_the_day_it_began_by_the_workspaces_clock(workspace: Workspace, as_alice: Client) -> None:
    local = timezone.now().astimezone(workspace.zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    device = make_device(workspace)
    for name, at in (("Before midnight", midnight - timedelta(seconds=1)), ("At midnight", midnight)):
        campaign = started(workspace, device, name=name, sent=1)
        Campaign.objects.filter(pk=campaign.pk).update(launched_at=at)
    today = page(as_alice, f"{SUMMARY}?range=today")
    assert "At midnight" in today
    assert "Before midnight" not in today
    yesterday = (midnight - timedelta(days=1)).date().isoformat()
    assert "Before midnight" in page(as_alice, f"{SUMMARY}?range=own&from={yesterday}&to={yesterday}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("range=own", "Choose the first day."),
        ("range=own&from=2026-02-30&to=2026-03-01", "Write the day like 2026-11-05."),
        ("from=2026-03-02&to=2026-03-01", "The last day comes before the first."),
        ("from=2020-01-01&to=2026-03-01", "That is more than 366 days."),
        ("from=0001-01-01&to=0001-01-02", "Choose a day from 2000 on."),
        ("from=9999-12-30&to=9999-12-31", "That day is still to come."),
        ("range=forever", "Choose one of these, or your own days."),
        ("from=%00&to=<script>", "Write the day like 2026-11-05."),
    ],
)
def test_days_that_make_no_sense_are_named_and_nothing_is_lost(
    workspace: Workspace, as_alice: Client, query: str, said: str
) -> None:
    started(workspace, make_device(workspace), sent=1)
    for url in (SUMMARY, REPORT):
        html = page(as_alice, f"{url}?{query}&q=Sal&sort=sent")
        assert said in words(as_alice.get(f"{url}?{query}&q=Sal&sort=sent"))
        assert "the last 7 days are shown" in html
        assert 'name="q" value="Sal"' in re.sub(r"\s+", " ", html)
        assert "<script>" not in html
        for name, typed in parse_qs(query).items():
            if name != "range" and "\0" not in typed[0] and "<" not in typed[0]:
                assert f'value="{typed[0]}"' in html
        assert as_alice.get(f"{url}/charts?{query}").status_code == 200


@pytest.mark.parametrize(
    "query", ["page=0", "page=99999", "page=x", "sort=;drop", "figure=x", "q=%00%ff", "state=nowhere", "sort=success"]
)
def test_hostile_addresses_ask_for_nothing_in_particular(workspace: Workspace, as_alice: Client, query: str) -> None:
    device = make_device(workspace)
    started(workspace, device, sent=1)
    for url in (SUMMARY, REPORT, f"{REPORT}/{device.uuid}"):
        assert as_alice.get(f"{url}?{query}").status_code == 200


def test_every_order_and_figure_that_a_page_offers_exists() -> None:
    assert set(SORTED_BY) <= set(SORTS)
    assert set(LISTS) <= set(FIGURE_SQL)


# ---- the period before


@pytest.mark.parametrize(
    ("now", "before", "way", "said"),
    [
        (5, 5, "level", "as before"),
        (5, 0, "up", "none before"),
        (110, 100, "up", "10 % more, 100 before"),
        (75, 100, "down", "25 % fewer, 100 before"),
        (1_001, 1_000, "up", "under 1 % more, 1,000 before"),
        (2_000, 100, "up", "20 times as many, 100 before"),
        (0, 3, "down", "100 % fewer, 3 before"),
    ],
)
def test_a_change_is_said_in_words(now: int, before: int, way: str, said: str) -> None:
    assert (change(now, before).way, change(now, before).words) == (way, said)


def test_figures_are_compared_with_as_many_days_before(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)
    started(workspace, device, sent=90, dead=10)
    assert "No campaign in the period before" in words(as_alice.get(SUMMARY))
    started(workspace, device, days_ago=8, sent=60, dead=40)
    started(workspace, device, days_ago=20, sent=1_000)
    for url in (SUMMARY, REPORT, f"{REPORT}/{device.uuid}"):
        said = words(as_alice.get(url))
        assert "Compared with 1 campaign of the period before" in said
        assert "50 % more, 60 before" in said
        assert "75 % fewer, 40 before" in said
        assert "30.0 points more, 60.0 % before" in said


# ---- rows


def test_campaigns_are_searched_sorted_and_paged(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)
    for number in range(28):
        started(workspace, device, days_ago=number / 10, name=f"Sale {number:02}", sent=number)
    started(workspace, device, name="100% other_thing", dead=5)

    def names(query: str) -> list[str]:
        return re.findall(r'class="report-name"[^>]*>([^<]+)<', page(as_alice, f"{SUMMARY}?{query}"))

    assert len(names("")) == 25
    assert len(names("page=2")) == 4
    assert names("page=2") == names("page=77")
    assert names("sort=sent")[:2] == ["Sale 27", "Sale 26"]
    assert names("sort=failure")[0] == names("figure=failed")[0] == "100% other_thing"
    assert names("q=0%25 other_") == ["100% other_thing"]
    assert names("q=%25") == ["100% other_thing"]
    assert names("q=SALE 1&sort=name") == [f"Sale {number}" for number in range(10, 20)]
    assert names("q=nowhere") == []


def test_devices_are_searched_filtered_and_sorted(workspace: Workspace, as_alice: Client) -> None:
    host = make_host()
    shop = make_device(workspace, name="Shop", owner=host)
    stall = make_device(workspace, name="Stall", owner=host, state="banned")
    make_device(workspace, name="Spare", owner=host)
    started(workspace, shop, sent=1, dead=9)
    started(workspace, stall, sent=20)

    def names(query: str) -> list[str]:
        return re.findall(r'class="report-name"[^>]*>([^<]+)<', page(as_alice, f"{REPORT}?{query}"))

    assert names("") == ["Shop", "Spare", "Stall"]
    assert names("sort=sent") == ["Stall", "Shop", "Spare"]
    assert names("sort=failure") == ["Shop", "Stall", "Spare"]
    assert names("state=banned") == ["Stall"]
    assert names("q=sp") == ["Spare"]
    totals = figures_in(page(as_alice, f"{REPORT}?state=banned"), "report-totals")
    assert ("/dashboard/campaigns?range=7&figure=should", 30) in totals, "of all devices, whichever are shown"


# ---- meters


def test_charts_are_drawn_from_meters_with_the_period_before_as_a_line(workspace: Workspace, as_alice: Client) -> None:
    device, other = make_device(workspace), make_device(workspace)
    local = timezone.now().astimezone(workspace.zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = local.replace(minute=0, second=0, microsecond=0)
    for meter, start, sent in (
        (DayMeter, midnight - timedelta(days=1), 7),
        (DayMeter, midnight - timedelta(days=8), 4),
        (DayMeter, midnight, 3),
        (HourMeter, hour, 3),
        (HourMeter, hour - timedelta(days=1), 6),
        (HourMeter, hour - timedelta(days=40), 1_000),
    ):
        for one in (device, other):
            meter.objects.create(workspace=workspace, device=one, start=start, sent=sent, failed=1)
    week = as_alice.get(f"{SUMMARY}/charts").context
    assert list(week["over_time"].series[0].counts) == [0, 0, 0, 0, 0, 14, 6]
    assert list(week["over_time"].line.counts) == [0, 0, 0, 0, 0, 8, 0]
    assert week["by_hour"].series[0].counts[local.hour] == 18
    day = as_alice.get(f"{REPORT}/{device.uuid}/charts?range=today").context
    assert (day["over_time"].series[0].counts[local.hour], day["over_time"].series[0].total) == (3, 3)
    assert (day["over_time"].line.counts[local.hour], day["over_time"].line.total) == (6, 6)
    assert day["by_hour"].series[3].total == 1


def test_processing_times_are_those_of_the_period(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)
    started(workspace, device, sent=1)
    midnight = timezone.now().astimezone(workspace.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    times = [0, 0, 90, 10, 0, 0, 0, 0, 0, 0, 0, 0]
    for start in (midnight - timedelta(days=2), midnight):
        DayMeter.objects.create(workspace=workspace, device=device, start=start, time_ms=25_000, times=times)
    slow = [0] * 11 + [1_000]
    DayMeter.objects.create(workspace=workspace, device=device, start=midnight - timedelta(days=20), times=slow)
    took = as_alice.get(f"{REPORT}/{device.uuid}").context["took"]
    assert took.mean_ms == 250
    assert 200 < took.p95_ms <= 500
    assert "250 ms" in words(as_alice.get(REPORT))


# ---- retrying


def test_14_what_failed_at_one_device_is_retried_after_asking_and_nothing_else(
    workspace: Workspace, as_alice: Client, alice: User
) -> None:
    campaigns, (device, _) = told_workspace(workspace)
    dead = Message.objects.filter(state="dead", campaign__in=campaigns)
    dead.update(dead_at=timezone.now() - timedelta(minutes=5))
    mine = set(dead.filter(stream__device=device).values_list("pk", flat=True))
    others = set(dead.exclude(stream__device=device).values_list("pk", flat=True))
    assert mine
    assert others
    url = f"{REPORT}/{device.uuid}/retry-failed"
    asked = as_alice.get(url)
    assert f"Retry {len(mine)} messages" in words(asked)
    fields = re.findall(r'<input type="hidden" name="(until|campaign|range)" value="([^"]+)"', asked.content.decode())
    late = Message.objects.filter(campaign=campaigns[1], stream__device=device, state="pending")[0]
    Message.objects.filter(pk=late.pk).update(state="dead", dead_at=timezone.now() + timedelta(hours=1))
    count_again(campaigns[1])
    form: dict[str, Any] = {name: [value for key, value in fields if key == name] for name, _ in fields}
    assert as_alice.post(url, form).status_code == 302
    assert set(Message.objects.filter(pk__in=mine, state="pending").values_list("pk", flat=True)) == mine
    assert set(Message.objects.filter(pk__in=others, state="dead").values_list("pk", flat=True)) == others
    assert Message.objects.get(pk=late.pk).state == "dead"
    assert AuditEntry.objects.filter(action="campaign.failed_retried", actor=alice).count() == 2
    before = Attempt.objects.count()
    as_alice.post(url, form)
    assert Attempt.objects.count() == before
    assert AuditEntry.objects.filter(action="campaign.failed_retried").count() == 2, "each once"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"until": "yesterday"},
        {"until": "2026-99-99T00:00:00+00:00"},
        {"until": "2026-11-05T00:00:00+00:00", "campaign": "x"},
        {"until": "2026-11-05T00:00:00", "campaign": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_a_retry_of_nothing_that_can_be_named_is_not_found(
    workspace: Workspace, as_alice: Client, form: dict[str, str]
) -> None:
    assert as_alice.post(f"{REPORT}/{make_device(workspace).uuid}/retry-failed", form).status_code == 404


def test_another_workspaces_campaign_is_not_retried(workspace: Workspace, as_alice: Client, charlie: User) -> None:
    theirs = varied_campaign(charlie.owned_workspace)
    form = {"until": timezone.now().isoformat(), "campaign": str(theirs.uuid)}
    assert as_alice.post(f"{REPORT}/{make_device(workspace).uuid}/retry-failed", form).status_code == 404
    assert theirs.messages.filter(state="dead").exists()


# ---- files


def table_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


def test_files_say_what_the_pages_say_and_the_audit_says_who_took_them(
    workspace: Workspace, as_alice: Client, alice: User
) -> None:
    campaigns, devices = told_workspace(workspace)
    rows = table_of(as_alice.post(f"{SUMMARY}/export", {"range": "7"}))
    assert [row["Campaign"] for row in rows] == ["'=Sale; Kuala Lumpur", "Autumn <offer>", campaigns[2].name]
    of_pages = dict(figures_in(page(as_alice, SUMMARY), "report-totals")[1:])
    for key, word in LISTS.items():
        assert sum(int(row[word]) for row in rows) == of_pages[f"{SUMMARY}?range=7&figure={key}"]
    by_device = table_of(as_alice.post(f"{REPORT}/export", {"range": "7"}))
    assert sum(int(row["Should"]) for row in by_device) == sum(int(row["Should"]) for row in rows)
    own = table_of(as_alice.post(f"{REPORT}/{devices[0].uuid}/export", {"range": "7"}))
    (line,) = [row for row in by_device if row["Device"] == devices[0].name]
    assert sum(int(row["Failed"]) for row in own) == int(line["Failed"]) > 0
    taken = AuditEntry.objects.filter(actor=alice, action__endswith="_exported").order_by("pk")
    assert [(entry.action, entry.detail.get("campaigns")) for entry in taken] == [
        ("campaigns.summary_exported", 3),
        ("devices.report_exported", None),
        ("device.report_exported", 2),
    ]


def test_a_file_of_many_campaigns_has_each_once(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.views.report_frame.ROWS_AT_ONCE", 3)
    device = make_device(workspace)
    for number in range(7):
        started(workspace, device, name=f"Sale {number}", sent=1)
    rows = table_of(as_alice.post(f"{SUMMARY}/export", {"range": "7"}))
    assert sorted(row["Campaign"] for row in rows) == [f"Sale {number}" for number in range(7)]


# ---- whose they are, how they live, what they cost


def test_an_empty_workspace_is_told_the_next_step(
    workspace: Workspace, as_alice: Client, bob: User, sign_in: Any
) -> None:
    assert 'href="/campaigns/new/"' in page(as_alice, SUMMARY)
    assert 'href="/devices/add/"' in page(as_alice, REPORT)
    assert "/campaigns/new/" not in page(sign_in(bob), SUMMARY)
    device = make_device(workspace)
    assert "No campaign in these days" in page(as_alice, f"{REPORT}/{device.uuid}")
    assert "nothing tried to the end yet" in page(as_alice, REPORT)
    assert as_alice.get(f"{REPORT}/{device.uuid}/charts").status_code == 200


def test_nothing_of_another_workspace_is_counted(
    workspace: Workspace, as_alice: Client, charlie: User, sign_in: Any
) -> None:
    theirs = make_device(charlie.owned_workspace, name="Theirs")
    started(charlie.owned_workspace, theirs, name="Secret", sent=7_777, dead=5)
    HourMeter.objects.create(workspace=charlie.owned_workspace, device=theirs, start=timezone.now(), sent=7_777)
    started(workspace, make_device(workspace), sent=1)
    for url in (SUMMARY, REPORT, f"{SUMMARY}/charts", f"{REPORT}/charts"):
        html = page(as_alice, url)
        assert "Secret" not in html
        assert "Theirs" not in html
        assert "7,777" not in words(as_alice.get(url))
    assert as_alice.get(f"{REPORT}/{theirs.uuid}").status_code == 404
    as_charlie = sign_in(charlie)
    assert "Secret" in page(as_charlie, SUMMARY)
    assert "7,777" in words(as_charlie.get(SUMMARY))
    assert "7,777" in words(as_charlie.get(REPORT))


def test_who_looks_on_is_offered_no_retry(workspace: Workspace, as_alice: Client, bob: User, sign_in: Any) -> None:
    device = make_device(workspace)
    started(workspace, device, dead=3)
    for url in (REPORT, f"{REPORT}/{device.uuid}"):
        assert "retry-failed" in page(as_alice, url)
        assert "retry-failed" not in page(sign_in(bob), url)
    assert sign_in(bob).get(f"{REPORT}/{device.uuid}/retry-failed").status_code == 403


def test_each_part_that_follows_is_swapped_in_by_its_id(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)
    started(workspace, device, sent=1)
    for url, parts in (
        (SUMMARY, 3),
        (REPORT, 3),
        (f"{REPORT}/{device.uuid}", 5),
        (f"{SUMMARY}/charts", 3),
    ):
        whole = page(as_alice, url.removesuffix("/charts"))
        assert "hx-swap-oob" not in whole
        triggers = re.findall(r'hx-trigger="([^"]+)"', whole)
        assert not [one for one in triggers if "throttle" in one and "delay" in one], "of one element only one works"
        assert {"throttle", "delay"} <= set(re.findall("throttle|delay", " ".join(triggers)))
        html = as_alice.get(url, headers={"HX-Request": "true"}).content.decode()
        ids = re.findall(r'id="([a-z-]+)"[^>]*hx-swap-oob="true"', html)
        assert len(ids) == parts
        assert all(f'id="{one}"' in whole for one in ids)
        assert "<html" not in html


def test_tabs_lead_to_every_page_of_the_dashboard(workspace: Workspace, as_alice: Client) -> None:
    pages = ["/dashboard", SUMMARY, REPORT, "/dashboard/workers"]
    for url in pages:
        html = page(as_alice, url)
        assert re.findall(r'<a class="nav-link[^>]*href="([^"]+)"', html) == pages
        assert re.search(rf'<a class="nav-link active"\s*href="{url}"\s*aria-current="page"', html)


def test_many_campaigns_cost_as_many_queries_as_few_and_no_message_is_read(
    workspace: Workspace, as_alice: Client
) -> None:
    device = make_device(workspace)
    started(workspace, device, sent=1)
    pages = [SUMMARY, REPORT, f"{REPORT}/{device.uuid}", f"{SUMMARY}/charts"]
    for url in pages:
        page(as_alice, url)
        with CaptureQueriesContext(connection) as few:
            page(as_alice, url)
        for number in range(3):
            started(workspace, make_device(workspace), name=f"More {number}", sent=2)
        page(as_alice, url)
        with CaptureQueriesContext(connection) as many:
            page(as_alice, url)
        assert len(many) <= len(few) + 1, url  # one to look up the only campaign of a device
        assert not [query for query in many.captured_queries if "campaigns_message" in query["sql"]], url


def test_the_addresses_are_those_of_the_design() -> None:
    assert reverse("monitoring:campaign_summary") == SUMMARY
    assert reverse("monitoring:device_report") == REPORT
