"""Home: what a newcomer, an owner on a working day and a looker-on see of a workspace."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.models import Campaign, Lane, Stream
from devices.models import Device, DeviceState, Host
from monitoring.overview import overview, since_when, start_of_day
from tests.factories import make_campaign, make_contact, make_device, make_host

SignIn = Callable[[User], Client]


def page_of(client: Client) -> str:
    answer = client.get("/dashboard")
    assert answer.status_code == 200
    return answer.content.decode()


def words(page: str) -> str:
    """What a person reads: no tags, single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def running(workspace: Workspace, device: Device, name: str = "Spring sale", **counts: int) -> Campaign:
    campaign = make_campaign(
        workspace, devices=(device,), name=name, state="running", launched_at=timezone.now(), planned_at=timezone.now()
    )
    Stream.objects.create(
        workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, running=True, **counts
    )
    return campaign


LONG_AGO = timedelta(minutes=20)


def served(workspace: Workspace, **fields: Any) -> Device:
    """By a host that has run for a while. What state it is in, it has been in for a while, too."""
    host = make_host(started_at=timezone.now() - LONG_AGO)
    return make_device(workspace, **{"owner": host, "state_at": timezone.now() - LONG_AGO, **fields})


# ---- The first day


def test_sign_in_lands_on_the_dashboard(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    answer = sign_in(alice).get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard")


def test_a_new_workspace_is_welcomed_and_told_the_next_step(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    make_host()
    page = page_of(sign_in(alice))
    assert "Welcome to Flotilla" in page
    assert "Four steps to your first campaign" in page
    (next_step,) = re.findall(r'<li class="home-step next".*?</li>', page, re.DOTALL)
    assert 'href="/devices/add/"' in next_step
    assert "Needs attention" not in page
    assert "Today" not in words(page)


def test_each_step_is_done_by_what_happened(workspace: Workspace) -> None:
    def done() -> list[bool]:
        return [step.done for step in overview(workspace)["steps"]]

    assert done() == [False] * 4
    device = make_device(workspace, linked=False)
    assert done() == [False] * 4
    Device.objects.filter(pk=device.pk).update(phone="+60110000000", state=DeviceState.ONLINE)
    assert done() == [True, False, False, False]
    test = Stream.objects.create(workspace=workspace, device=device, lane=Lane.DIRECT, running=True, pending=1)
    assert done() == [True, False, False, False]
    Stream.objects.filter(pk=test.pk).update(pending=0, sent=1)
    assert done() == [True, True, False, False]
    make_contact(workspace)
    assert done() == [True, True, True, False]
    make_campaign(workspace)
    assert done() == [True, True, True, False]


def test_the_steps_disappear_when_all_are_done(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    device = served(workspace)
    running(workspace, device, pending=3)
    assert "First steps: 3 of 4 done" in page_of(sign_in(alice))
    Stream.objects.create(workspace=workspace, device=device, lane=Lane.DIRECT, running=True, delivered=1)
    page = page_of(sign_in(alice))
    assert "home-step" not in page
    assert 'href="/campaigns/new/"' in page


def test_steps_lead_to_pages_that_answer(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    client = sign_in(alice)
    for linked in (None, False, True):
        if linked is not None:
            make_device(workspace, linked=linked)
        for step in overview(workspace)["steps"]:
            assert step.done or not step.url or client.get(step.url).status_code == 200, step.url


def test_a_test_message_waits_for_a_linked_device(workspace: Workspace) -> None:
    make_device(workspace, linked=False)
    assert [bool(step.url) for step in overview(workspace)["steps"]] == [True, False, True, True]
    device = make_device(workspace)
    assert overview(workspace)["steps"][1].url == f"/devices/{device.uuid}/"


def test_a_looker_on_sees_the_steps_without_buttons(bob: User, workspace: Workspace, sign_in: SignIn) -> None:
    page = page_of(sign_in(bob))
    assert "A manager of this workspace takes the next step" in page
    assert 'href="/devices/add/"' not in page
    assert 'href="/campaigns/new/"' not in page


# ---- A working day


def test_todays_funnel_sums_the_campaigns_that_ran_today(workspace: Workspace) -> None:
    first, second = served(workspace), served(workspace)
    running(workspace, first, sent=4, delivered=3, read=2, dead=1, replied=1, pending=9)
    done = running(workspace, second, read=10)
    Campaign.objects.filter(pk=done.pk).update(state="completed", finished_at=timezone.now())
    funnel = overview(workspace)["funnel"]
    assert {figure.label: figure.value for figure in funnel.figures} == {
        "Sent": 19,
        "Delivered": 15,
        "Read": 12,
        "Replied": 1,
        "Failed": 1,
    }
    assert funnel.since == "2 campaigns ran today."


def test_a_campaign_of_yesterday_counts_only_while_it_runs_and_says_so(workspace: Workspace) -> None:
    campaign = running(workspace, served(workspace), sent=5)
    yesterday = start_of_day(workspace) - timedelta(seconds=1)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=yesterday)
    assert "It began before today" in overview(workspace)["funnel"].since
    Campaign.objects.filter(pk=campaign.pk).update(state="completed", finished_at=yesterday)
    assert overview(workspace)["funnel"] is None


def test_the_day_is_the_workspaces_own(workspace: Workspace) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"):
        workspace.timezone = zone
        start = start_of_day(workspace)
        assert (start.hour, start.minute, start.tzinfo) == (0, 0, workspace.zone)
        assert timedelta() <= timezone.now() - start < timedelta(hours=25)


@pytest.mark.parametrize(
    ("ran", "earlier", "told"),
    [
        (1, 0, "1 campaign ran today."),
        (1, 1, "1 campaign ran today. It began before today: its figures count from its start."),
        (3, 2, "3 campaigns ran today. 2 of them began before today: those figures count from the start."),
        (2, 2, "2 campaigns ran today. All began before today: those figures count from the start."),
    ],
)
def test_the_label_says_what_is_counted(ran: int, earlier: int, told: str) -> None:
    assert since_when(ran, earlier) == told


def test_figures_and_counts_lead_to_the_rows_behind_them(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    campaign = running(workspace, served(workspace), sent=4, dead=1)
    client = sign_in(alice)
    shown = overview(workspace)
    links = [figure.url for figure in shown["funnel"].figures] + [device.url for device in shown["devices"]]
    assert f"/campaigns/{campaign.uuid}/recipients/?figure=replied" in links
    for link in links:
        assert client.get(link).status_code == 200, link


def test_devices_are_counted_by_the_state_people_read(workspace: Workspace) -> None:
    served(workspace)
    make_device(workspace)  # no host vouches for it
    served(workspace, state=DeviceState.BANNED, owner=None)
    counts = {device.word: device.count for device in overview(workspace)["devices"]}
    assert counts == {"Online": 1, "No engine": 1, "Banned": 1}


def test_what_left_today_is_what_the_devices_counted_today(workspace: Workspace) -> None:
    today = start_of_day(workspace)
    served(workspace, day_start=today, day_used=7)
    served(workspace, day_start=today - timedelta(days=1), day_used=100)
    assert overview(workspace)["sent_today"] == 7


def test_campaigns_stand_in_the_order_of_what_happens(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    device, now = served(workspace), timezone.now()
    make_campaign(workspace, name="Later", state="scheduled", start_at=now + timedelta(days=2))
    make_campaign(workspace, name="Soon", state="scheduled", start_at=now + timedelta(hours=1))
    paused = running(workspace, device, name="Held")
    Campaign.objects.filter(pk=paused.pk).update(state="paused")
    running(workspace, device, name="Now", sent=1, pending=1)
    make_campaign(workspace, name="Thought of")
    page = page_of(sign_in(alice))
    assert re.findall(r'class="campaign-name"[^>]*>([^<]+)<', page) == ["Now", "Held", "Soon", "Later"]


# ---- What needs a person


def troubles(workspace: Workspace) -> dict[str, Any]:
    return {trouble.title: trouble for trouble in overview(workspace)["troubles"]}


def test_a_workspace_where_all_is_well_says_so(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    running(workspace, served(workspace), sent=1, pending=1)
    assert troubles(workspace) == {}
    assert "Nothing needs you right now." in page_of(sign_in(alice))


def test_no_engine_is_said_once(workspace: Workspace) -> None:
    device = make_device(workspace, owner=make_host(lease_until=timezone.now() - timedelta(seconds=1)))
    running(workspace, device, pending=5)
    assert list(troubles(workspace)) == ["No engine is running"]


@pytest.mark.parametrize(
    ("state", "page"),
    [("offline", ""), ("banned", ""), ("replaced", ""), ("outdated", ""), ("unlinked", "pair/")],
)
def test_a_device_that_cannot_send_needs_attention_only_while_work_waits_for_it(
    alice: User, workspace: Workspace, sign_in: SignIn, state: str, page: str
) -> None:
    phone = {"phone": None} if state == "unlinked" else {}
    device = served(workspace, name="Shop 1", state=state, **phone)
    assert troubles(workspace) == {}
    campaign = running(workspace, device, waiting=1, pending=1_199)
    (trouble,) = overview(workspace)["troubles"]
    assert trouble.title.startswith("Shop 1: ")
    assert "1,200 messages wait for it." in trouble.text
    assert trouble.url == f"/devices/{device.uuid}/{page}"
    assert sign_in(alice).get(trouble.url).status_code == 200
    assert [seen.url for seen in overview(workspace, can_manage=False)["troubles"]] == [f"/devices/{device.uuid}/"]
    Stream.objects.filter(campaign=campaign).update(running=False)
    assert troubles(workspace) == {}, "a paused campaign waits for a person, not for the device"


def test_a_device_on_its_way_back_needs_nobody(workspace: Workspace) -> None:
    device = served(workspace, state=DeviceState.CONNECTING, state_at=timezone.now())
    running(workspace, device, pending=5)
    assert troubles(workspace) == {}
    Device.objects.filter(pk=device.pk).update(state_at=timezone.now() - LONG_AGO)
    assert list(troubles(workspace)) == [f"{device.name}: connecting"], "it does not come back by itself"


def test_uncertain_and_failed_messages_need_attention(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    campaign = running(workspace, served(workspace), uncertain=1, dead=2)
    found = troubles(workspace)
    assert list(found) == ["Spring sale: 1 message needs a look", "Spring sale: 2 messages failed"]
    client = sign_in(alice)
    for figure, trouble in zip(("uncertain", "failed"), found.values(), strict=True):
        assert trouble.url == f"/campaigns/{campaign.uuid}/recipients/?figure={figure}"
        assert client.get(trouble.url).status_code == 200
    long_ago = timezone.now() - timedelta(days=8)
    Campaign.objects.filter(pk=campaign.pk).update(state="completed", launched_at=long_ago, finished_at=long_ago)
    assert troubles(workspace) == {}


def test_what_waits_for_an_answer_now_stands_before_what_failed(workspace: Workspace) -> None:
    device = served(workspace)
    running(workspace, device, name="Old", dead=2)
    asking = running(workspace, device, name="Canary", sent=1)
    Campaign.objects.filter(pk=asking.pk).update(canary=1, awaiting_word=3)
    assert list(troubles(workspace)) == ["Canary: 3 people wait for your word", "Old: 2 messages failed"]
    Device.objects.update(owner=None)
    Host.objects.all().delete()
    assert next(iter(troubles(workspace))) == "No engine is running"


def test_many_troubled_campaigns_are_summed_up(workspace: Workspace) -> None:
    device = served(workspace)
    for number in range(8):
        running(workspace, device, name=f"Campaign {number}", dead=2)
    titles = list(troubles(workspace))
    assert len(titles) == 6
    assert titles[-1] == "3 more campaigns: 6 messages failed"


def test_a_campaign_that_did_not_start_in_time_needs_attention(workspace: Workspace) -> None:
    make_host()
    late = timezone.now() - timedelta(minutes=3)
    campaign = make_campaign(workspace, name="Dawn", state="scheduled", start_at=late)
    (trouble,) = overview(workspace)["troubles"]
    assert trouble.title == "Dawn: should have started"
    assert trouble.url == f"/campaigns/{campaign.uuid}/"


def test_names_are_shown_as_they_are_and_not_run(alice: User, workspace: Workspace, sign_in: SignIn) -> None:
    running(workspace, served(workspace), name="<script>alert(1)</script>", dead=1)
    page = page_of(sign_in(alice))
    assert "<script>alert(1)" not in page
    assert page.count("&lt;script&gt;alert(1)") == 2


# ---- Whose it is, how it lives, what it costs


def test_nothing_of_another_workspace_is_shown_or_counted(
    alice: User, workspace: Workspace, charlie: User, sign_in: SignIn
) -> None:
    theirs = charlie.owned_workspace
    running(theirs, served(theirs, name="Charlie 1", state="banned", day_used=9), name="Secret", dead=3, pending=2)
    make_contact(theirs)
    own = overview(workspace)
    assert (own["funnel"], own["devices"], own["rows"], own["troubles"], own["sent_today"]) == (None, [], [], [], 0)
    assert own["steps_done"] == 0
    page = page_of(sign_in(alice))
    assert "Secret" not in page
    assert "Charlie" not in page
    assert "Secret" in page_of(sign_in(charlie))


def test_who_is_not_signed_in_is_sent_to_sign_in(db: None) -> None:
    answer = Client().get("/dashboard")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=/dashboard")


def test_the_live_region_fetches_itself_and_is_swapped_by_id(
    alice: User, workspace: Workspace, sign_in: SignIn
) -> None:
    running(workspace, served(workspace), sent=1, pending=1)
    client = sign_in(alice)
    page = page_of(client)
    assert 'ws-connect="/ws/live/home/"' in page
    assert "hx-swap-oob" not in page
    region = client.get("/dashboard", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in region
    assert '<div id="home" hx-swap-oob="true">' in region
    assert region.count("hx-swap-oob") == 1, "rows inside must stay in their table"
    assert "Spring sale" in region


def test_home_costs_as_many_queries_on_a_busy_day_as_on_a_quiet_one(
    alice: User, workspace: Workspace, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    device = served(workspace)
    running(workspace, device, sent=1)
    running(workspace, served(workspace, state="offline"), pending=1)
    page_of(client)
    with CaptureQueriesContext(
        connection,
    ) as quiet:
        page_of(client)
    for number in range(10):
        running(workspace, served(workspace, state="offline"), name=f"Campaign {number}", pending=2, dead=1)
    with CaptureQueriesContext(connection) as busy:
        page_of(client)
    assert len(busy) == len(quiet)
    assert not [query for query in busy.captured_queries if "campaigns_message" in query["sql"]]
