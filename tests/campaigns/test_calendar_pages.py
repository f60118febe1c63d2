"""Many campaigns at once: the list with its order and pages, and the month with a campaign on each day."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User, Workspace
from campaigns.calendar import SHOWN, month_of
from campaigns.lists import PAGE
from campaigns.models import Campaign, CampaignState
from tests.campaigns.campaign_cases import at, words
from tests.factories import make_campaign, make_workspace

pytestmark = pytest.mark.django_db
LIST, CALENDAR = reverse("campaigns:list"), reverse("campaigns:calendar")


def on(*instant: int, zone: str = "UTC") -> datetime:
    year, month, day, *rest = instant
    hour, minute = [*rest, 0, 0][:2]
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))


def days(workspace: Workspace, month: date) -> dict[date, list[str]]:
    return {
        day.date: [chip.name for chip in day.chips]
        for week in month_of(workspace, month).weeks
        for day in week
        if day.chips
    }


# ---- the calendar


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Asia/Kuala_Lumpur", on(2026, 11, 5, 16, 0), date(2026, 11, 6)),
        ("Asia/Kuala_Lumpur", on(2026, 11, 5, 15, 59), date(2026, 11, 5)),
        ("America/New_York", on(2026, 11, 6, 4, 59), date(2026, 11, 5)),
        ("America/New_York", on(2026, 11, 1, 4, 0), date(2026, 11, 1)),  # the day of 25 hours begins
        ("America/New_York", on(2026, 11, 2, 4, 59), date(2026, 11, 1)),  # and ends
        ("UTC", on(2026, 11, 5, 0, 0), date(2026, 11, 5)),
    ],
)
def test_a_campaign_stands_on_the_day_of_its_workspaces_zone(
    alice: User, zone: str, instant: datetime, day: date
) -> None:
    workspace = make_workspace(alice, timezone=zone)
    make_campaign(workspace, name="Spring", start_at=instant, state=CampaignState.SCHEDULED)
    assert days(workspace, date(2026, 11, 1)) == {day: ["Spring"]}


def test_what_began_counts_from_its_start_and_a_draft_without_a_time_is_nowhere(workspace: Workspace) -> None:
    began = on(2026, 11, 7, 3)
    make_campaign(workspace, name="Ran", start_at=on(2026, 11, 3), launched_at=began, state=CampaignState.COMPLETED)
    make_campaign(workspace, name="Draft")
    make_campaign(workspace, name="Old", launched_at=began, archived_at=began, state=CampaignState.COMPLETED)
    make_campaign(make_workspace(), name="Theirs", launched_at=began)
    assert days(workspace, date(2026, 11, 1)) == {date(2026, 11, 7): ["Ran"]}


def test_a_full_day_collapses_into_a_link_to_exactly_its_campaigns(workspace: Workspace, as_alice: Client) -> None:
    noon = on(2026, 11, 5, 12, zone=workspace.timezone)
    for number in range(SHOWN + 4):
        make_campaign(workspace, name=f"Number {number}", start_at=noon + timedelta(minutes=number))
    make_campaign(workspace, name="The next day", start_at=noon + timedelta(hours=12))
    page = as_alice.get(CALENDAR, {"month": "2026-11"}).content.decode()
    link = re.search(r'class="calendar-more" href="([^"]+)">\+(\d+) more', page)
    assert link is not None
    assert link[2] == "4"
    found = as_alice.get(link[1].replace("&amp;", "&"))
    assert len(found.context["rows"]) == SHOWN + 4
    assert "The next day" not in words(found)
    assert "Those that begin on Thursday, 5 November 2026" in words(found)


def test_months_lead_to_each_other_and_nonsense_to_this_one(workspace: Workspace, as_alice: Client) -> None:
    page = as_alice.get(CALENDAR, {"month": "2026-12"})
    assert [page.context["month"].previous, page.context["month"].following] == ["2026-11", "2027-01"]
    assert "December 2026" in words(page)
    assert workspace.timezone in words(page)
    now = f"{timezone.now().astimezone(workspace.zone):%B %Y}"
    for nonsense in ("", "x", "2026-13", "0001-01", "9999-12", "2026-11-11", "\0"):
        assert now in words(as_alice.get(CALENDAR, {"month": nonsense}))


def test_who_may_write_begins_at_a_day_that_has_not_passed(
    workspace: Workspace, as_alice: Client, as_bob: Client
) -> None:
    today = timezone.now().astimezone(workspace.zone).date()
    link = f"{reverse('campaigns:create')}?day="
    assert f"{link}{today}" in as_alice.get(CALENDAR).content.decode()
    assert f"{link}{today - timedelta(days=1)}" not in as_alice.get(CALENDAR).content.decode()
    assert link not in as_bob.get(CALENDAR).content.decode()


def test_a_month_of_hundreds_is_asked_for_once(
    workspace: Workspace, as_alice: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    content = make_campaign(workspace).content
    began = [on(2026, 11, 1, 12) + timedelta(hours=number) for number in range(600)]
    Campaign.objects.bulk_create(
        Campaign(workspace=workspace, content=content, name=f"C{at:%d%H}", launched_at=at) for at in began
    )
    with django_assert_max_num_queries(12):
        page = as_alice.get(CALENDAR, {"month": "2026-11"})
    assert len(page.content) < 200_000
    assert page.context["month"].campaigns == 600


# ---- the list


@pytest.mark.parametrize("sort", ["", "oldest", "name", "start"])
def test_every_campaign_is_on_exactly_one_page_in_every_order(
    workspace: Workspace, as_alice: Client, sort: str
) -> None:
    began = timezone.now()
    for number in range(2 * PAGE + 3):
        make_campaign(
            workspace, name=f"Same {number % 7}", launched_at=began - timedelta(days=number % 5) if number % 3 else None
        )
    seen: list[Campaign] = []
    after: int | None = None
    for _ in range(3):
        page = as_alice.get(LIST, {"sort": sort, "after": str(after or "")})
        seen += [campaign for campaign, _ in page.context["rows"]]
        after = page.context["following"]
    assert after is None
    assert len(seen) == len({campaign.pk for campaign in seen}) == 2 * PAGE + 3
    if sort == "name":
        assert [campaign.name for campaign in seen] == sorted(campaign.name for campaign in seen)


def test_the_archived_are_apart(workspace: Workspace, as_alice: Client) -> None:
    make_campaign(workspace, name="Here")
    make_campaign(workspace, name="Put away", state=CampaignState.COMPLETED, archived_at=timezone.now())
    plain = words(as_alice.get(LIST))
    assert "Here" in plain
    assert "Put away" not in plain
    assert "All 1" in plain
    assert "Archived 1" in plain
    away = words(as_alice.get(LIST, {"state": "archived"}))
    assert "Put away" in away
    assert "Here" not in away


@pytest.mark.parametrize("nonsense", ["x", "-1", "9" * 40, "2026-99-99", "0000-00-00", "²", "\0"])
def test_nonsense_asks_for_nothing_in_particular(workspace: Workspace, as_alice: Client, nonsense: str) -> None:
    make_campaign(workspace, name="Here")
    for key in ("after", "sort", "day", "state"):
        assert "Here" in words(as_alice.get(LIST, {key: nonsense}))


def test_a_page_never_continues_from_a_foreign_campaign(workspace: Workspace, as_alice: Client) -> None:
    mine = make_campaign(workspace, name="zzz")
    theirs = make_campaign(make_workspace(), name="aaa")
    page = as_alice.get(LIST, {"sort": "name", "after": str(theirs.pk)})
    assert [campaign for campaign, _ in page.context["rows"]] == [mine]
    assert at("campaign", theirs) not in page.content.decode()
