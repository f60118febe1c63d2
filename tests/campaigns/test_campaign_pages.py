"""The pages of campaigns: Alice owns the workspace, Bob looks on, Charlie is a stranger."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.live import figures, live_context, streams_of
from campaigns.models import Attempt, Campaign, CampaignState, Content, Message, Stream, Tag, Uncertain
from campaigns.shown import LISTS
from tests.campaigns.campaign_cases import count_again, planned_campaign, varied_campaign
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db

READS = ("campaign", "recipients")
DECISIONS = ("retry_failed", "send_again", "assume_sent")
MOVES = ("start", "pause", "resume", "cancel", "unschedule", "delete", *DECISIONS)
FORMS = ("edit", "text")
SAFE = {"failover": "wait", "uncertain_policy": "hold", "expire_after_h": ""}


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, timezone="Europe/Berlin")


def at(name: str, campaign: Campaign, query: str = "") -> str:
    return reverse(f"campaigns:{name}", args=[campaign.uuid]) + query


def filled(workspace: Workspace, **fields: Any) -> dict[str, Any]:
    values = {
        "name": "Spring",
        "text": "Hi {{ name }}",
        "audience": "everyone",
        "devices": [make_device(workspace).pk],
        "min_delay": "",
        "assignment": "sticky",
        "device_cap": "",
        **SAFE,
        "when": "now",
        "start_at": "",
    }
    return {**values, **fields}


def words(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# ---- who may


def test_a_stranger_finds_nothing(workspace: Workspace, as_charlie: Client) -> None:
    campaign = make_campaign(workspace)
    for name in (*READS, *FORMS):
        assert as_charlie.get(at(name, campaign)).status_code == 404
    for name in (*MOVES, *FORMS):
        assert as_charlie.post(at(name, campaign), {"text": "Mine now"}).status_code == 404
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT
    assert campaign.name not in words(as_charlie.get(reverse("campaigns:list")))


def test_a_viewer_looks_and_changes_nothing(workspace: Workspace, as_bob: Client) -> None:
    campaign = planned_campaign(workspace)
    for name in READS:
        assert as_bob.get(at(name, campaign)).status_code == 200
    assert as_bob.get(reverse("campaigns:list")).status_code == 200
    assert as_bob.get(reverse("campaigns:create")).status_code == 403
    assert as_bob.post(reverse("campaigns:create"), filled(workspace)).status_code == 403
    for name in FORMS:
        assert as_bob.get(at(name, campaign)).status_code == 403
    for name in (*MOVES, *FORMS):
        assert as_bob.post(at(name, campaign), {"text": "Mine now"}).status_code == 403
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert Campaign.objects.count() == 1


def test_a_get_moves_nothing(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    for name in MOVES:
        assert as_alice.get(at(name, campaign)).status_code == 405


# ---- the list


def test_an_empty_list_names_the_next_step(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    assert reverse("campaigns:create") in as_alice.get(reverse("campaigns:list")).content.decode()
    assert reverse("campaigns:create") not in as_bob.get(reverse("campaigns:list")).content.decode()


def test_the_list_is_searched_filtered_and_counted_by_state(workspace: Workspace, as_alice: Client) -> None:
    make_campaign(workspace, name="Spring sale")
    make_campaign(workspace, name="Spring news", state=CampaignState.PAUSED)
    make_campaign(workspace, name="Autumn")
    everything = words(as_alice.get(reverse("campaigns:list")))
    assert "All 3" in everything
    assert "Draft 2" in everything
    found = words(as_alice.get(reverse("campaigns:list"), {"q": "spring", "state": "paused"}))
    assert "Spring news" in found
    assert "All 2" in found
    assert "Spring sale" not in found
    assert "No campaign like that" in words(as_alice.get(reverse("campaigns:list"), {"q": "winter"}))


def test_htmx_gets_the_fragment_of_the_same_url(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    for url, root in ((reverse("campaigns:list"), "campaign-list"), (at("campaign", campaign), "campaign-live")):
        fragment = as_alice.get(url, headers={"HX-Request": "true"}).content.decode().strip()
        assert "<html" not in fragment
        assert f'id="{root}"' in fragment
        assert root in as_alice.get(url).content.decode()


# ---- writing


def test_a_campaign_is_written_reviewed_and_started_once(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    answer = as_alice.post(reverse("campaigns:create"), filled(workspace))
    campaign = Campaign.objects.get()
    assert answer.headers["Location"] == at("campaign", campaign)
    review = words(as_alice.get(at("campaign", campaign)))
    assert "Start: 1 person" in review
    for _ in range(2):
        answer = as_alice.post(at("start", campaign))
        assert answer.headers["Location"] == at("campaign", campaign)
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert AuditEntry.objects.filter(target=campaign.target, action="campaign.started").count() == 1
    assert "It was started already" in words(as_alice.get(at("campaign", campaign)))


def test_the_form_begins_with_the_tags_of_an_import_and_the_only_device(as_alice: Client, workspace: Workspace) -> None:
    make_contact(workspace, tags=("guests & friends", "vip"))
    device = make_device(workspace)
    make_contact(make_workspace(), tags=("guests & friends",))
    chosen = as_alice.get(reverse("campaigns:create"), {"tag": ["guests & friends", "no such tag"]}).context["form"]
    assert chosen.initial["tags"] == [Tag.objects.for_workspace(workspace).get(name="guests & friends").pk]
    assert chosen.initial["devices"] == [device.pk]
    make_device(workspace)
    assert as_alice.get(reverse("campaigns:create")).context["form"].initial == {"tags": [], "devices": []}


def test_what_is_wrong_stands_beside_the_field_and_what_was_typed_stays(workspace: Workspace, as_alice: Client) -> None:
    typed = filled(
        workspace, name="", text="Hi {% include 'x' %}", when="at", start_at="2020-01-01T09:00", min_delay="-1"
    )
    answer = as_alice.post(reverse("campaigns:create"), typed)
    assert answer.status_code == 422
    page = answer.content.decode()
    for said in (
        "Give the campaign a name.",
        "Line 1, column 7: {% include %} cannot be used here",
        "This time has passed.",
        "Seconds, 0 or more.",
        'value="2020-01-01T09:00"',
        "Hi {% include &#x27;x&#x27; %}",
    ):
        assert said in page
    assert not Campaign.objects.exists()
    assert not Content.objects.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..9) %}x{% endfor %}",
        "{{ name | date: '%999999999d' }}",
        "{{" + " " * 8000,
        "x" * 9000,
        " ",
        "\0",
    ],
)
def test_a_hostile_text_is_not_saved(workspace: Workspace, as_alice: Client, text: str) -> None:
    answer = as_alice.post(reverse("campaigns:create"), filled(workspace, text=text))
    assert answer.status_code == 422
    assert "invalid-feedback" in answer.content.decode()
    assert not Campaign.objects.exists()


def test_a_script_in_any_text_is_only_text(workspace: Workspace, as_alice: Client) -> None:
    nasty = "<script>alert(1)</script>"
    make_contact(workspace, name=nasty, fields={nasty: nasty}, tags=(nasty,))
    device = make_device(workspace, name=nasty)
    tag = Tag.objects.get()
    data = filled(workspace, name=nasty, text=nasty, devices=[device.pk], tags=[tag.pk], audience="tags")
    as_alice.post(reverse("campaigns:create"), data)
    campaign = Campaign.objects.get()
    pages = [
        as_alice.get(at("campaign", campaign)),
        as_alice.get(at("edit", campaign)),
        as_alice.get(reverse("campaigns:create")),
        as_alice.post(reverse("campaigns:preview"), data),
        as_alice.get(reverse("campaigns:list")),
    ]
    launch_campaign(campaign, workspace.owner)
    pages += [
        as_alice.get(at("campaign", campaign)),
        as_alice.get(at("text", campaign)),
        as_alice.get(at("recipients", campaign)),
    ]
    for page in pages:
        assert page.status_code == 200
        assert nasty not in page.content.decode()


def test_devices_and_tags_of_others_are_no_choice(workspace: Workspace, as_alice: Client) -> None:
    other = make_workspace()
    make_contact(other, tags=("theirs",))
    foreign = make_device(other)
    data = filled(workspace, devices=[foreign.pk], tags=[Tag.objects.get().pk])
    answer = as_alice.post(reverse("campaigns:create"), data)
    assert answer.status_code == 422
    assert answer.content.decode().count("Select a valid choice") == 2


def test_a_device_that_is_not_linked_cannot_be_chosen_and_without_any_the_next_step_is_named(
    workspace: Workspace, as_alice: Client
) -> None:
    device = make_device(workspace, linked=False)
    assert reverse("devices:index") in as_alice.get(reverse("campaigns:create")).content.decode()
    assert as_alice.post(reverse("campaigns:create"), filled(workspace, devices=[device.pk])).status_code == 422
    assert as_alice.post(reverse("campaigns:create"), filled(workspace, devices=[])).status_code == 302


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("2031-03-30T02:30", "02:30 does not exist on 30 Mar 2031 in Europe/Berlin: clocks go forward. Choose 03:30"),
        ("tomorrow", "Choose a day and a time."),
        ("", "Choose a day and a time."),
        ("2031-02-30T10:00", "Choose a day and a time."),
    ],
)
def test_a_time_that_is_none_is_refused(workspace: Workspace, as_alice: Client, typed: str, said: str) -> None:
    answer = as_alice.post(reverse("campaigns:create"), filled(workspace, when="at", start_at=typed))
    assert answer.status_code == 422
    assert said in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "offset"), [("2031-07-01T09:00", 2), ("2031-12-01T09:00", 1), ("2031-10-26T02:30", 2)]
)
def test_a_time_is_meant_in_the_zone_of_the_workspace(
    workspace: Workspace, as_alice: Client, typed: str, offset: int
) -> None:
    as_alice.post(reverse("campaigns:create"), filled(workspace, when="at", start_at=typed))
    campaign = Campaign.objects.get()
    naive = datetime.fromisoformat(typed)
    assert campaign.start_at == naive.replace(tzinfo=ZoneInfo("UTC")) - timedelta(hours=offset)
    assert f'value="{typed}"' in as_alice.get(at("edit", campaign)).content.decode()


def test_the_edit_form_posted_as_it_is_changes_nothing(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, tags=("vip",))
    device = make_device(workspace)
    tag = Tag.objects.get()
    data = filled(
        workspace,
        audience="tags",
        tags=[tag.pk],
        devices=[device.pk],
        when="at",
        start_at="2031-07-01T09:00",
        min_delay="7.5",
        assignment="round_robin",
        device_cap="500",
        failover="ask",
        uncertain_policy="resend",
        expire_after_h="48",
        text="Hi\r\n{{ name }}",
    )
    as_alice.post(reverse("campaigns:create"), data)
    before = Campaign.objects.values().get()
    content = Content.objects.get()
    campaign = Campaign.objects.get()
    form = as_alice.get(at("edit", campaign)).context["form"]
    again = {name: form[name].value() for name in form.fields}
    assert as_alice.post(at("edit", campaign), again).status_code == 302
    assert Campaign.objects.values().get() == before
    assert Content.objects.get() == content
    assert content.text == "Hi\n{{ name }}"
    assert [link.tag for link in campaign.tag_links.all()] == [tag]
    assert [link.device for link in campaign.device_links.all()] == [device]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("device_cap", "0", "At least one person; empty: no cap."),
        ("device_cap", "2.5", "A whole number of people; empty: no cap."),
        ("device_cap", "99999999999999999999", "At most 10,000,000 people; empty: no cap."),
        ("expire_after_h", "-1", "At least one hour; empty: never."),
        ("expire_after_h", "8761", "At most 8,760 hours, which is a year; empty: never."),
        ("expire_after_h", "soon", "A whole number of hours; empty: never."),
        ("min_delay", "nan", "Seconds, as a number."),
        ("min_delay", "86401", "At most 86,400 seconds, which is a day."),
        ("assignment", "random", "Select a valid choice. random is not one of the available choices."),
        ("failover", "", "This field is required."),
        ("uncertain_policy", "twice", "Select a valid choice. twice is not one of the available choices."),
    ],
)
def test_every_bad_value_is_told_beside_its_field_and_kept(
    workspace: Workspace, as_alice: Client, field: str, value: str, said: str
) -> None:
    answer = as_alice.post(reverse("campaigns:create"), filled(workspace, **{field: value}))
    assert answer.status_code == 422
    page = answer.content.decode()
    beside = page[page.index(f'name="{field}"') :][:3000]
    assert said in beside
    assert not Campaign.objects.exists()
    if field in ("device_cap", "expire_after_h", "min_delay"):
        assert f'value="{value}"' in beside


def test_what_can_go_wrong_is_folded_away_until_it_is_chosen(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)

    def unfolded(campaign: Campaign) -> bool:
        form = re.search(r"<details[^>]*>", as_alice.get(at("edit", campaign)).content.decode())
        assert form is not None
        return " open" in form[0]

    assert not unfolded(make_campaign(workspace, devices=(device,)))
    for chosen in ({"failover": "ask"}, {"uncertain_policy": "assume_sent"}, {"expire_after_h": 3}):
        assert unfolded(make_campaign(workspace, devices=(device,), **chosen))


def test_the_form_is_honest_about_sending_again(workspace: Workspace, as_alice: Client) -> None:
    make_device(workspace)
    page = words(as_alice.get(reverse("campaigns:create")))
    assert "Send it again after 1 day It may arrive twice." in page
    assert "Count it as sent after 1 day It may never have arrived." in page


def test_the_count_beside_the_form_knows_who_has_no_room_and_who_comes_too_late(
    workspace: Workspace, as_alice: Client
) -> None:
    for _ in range(50):
        make_contact(workspace)
    device = make_device(workspace, min_delay=600, max_delay=600)
    asked: dict[str, Any] = {"audience": "everyone", "devices": device.pk}
    said = words(as_alice.get(reverse("campaigns:audience"), {**asked, "device_cap": "20", "expire_after_h": "1"}))
    assert "30 people get nothing: 1 number of at most 20 people each." in said
    assert "About 14 people get nothing: sending takes about 3 hours 20 minutes, and what has not left 1 hour" in said
    assert "get nothing" not in words(as_alice.get(reverse("campaigns:audience"), {**asked, "device_cap": "-5"}))


def test_the_review_says_what_follows_from_the_choices(workspace: Workspace, as_alice: Client) -> None:
    for _ in range(5):
        make_contact(workspace)
    device = make_device(workspace, sending_from="09:00", sending_to="17:00", warm_cap=20)
    campaign = make_campaign(
        workspace,
        devices=(device,),
        device_cap=3,
        failover="other",
        uncertain_policy="resend",
        expire_after_h=24,
    )
    page = words(as_alice.get(at("campaign", campaign)))
    for said in (
        "2 people get nothing: 1 number of at most 3 people each.",
        "There is no other number to send from",
        "The message is sent again: it may arrive twice.",
        "24 hours after the start",
        "By the gaps and caps, sending hours and warm-up of the devices",
    ):
        assert said in page


def test_what_happens_when_it_goes_wrong_can_be_changed_while_it_runs(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    wanted = {"text": campaign.content.text, "failover": "other", "uncertain_policy": "resend", "expire_after_h": "5"}
    answer = words(as_alice.post(at("text", campaign), wanted, follow=True))
    assert "What happens when something goes wrong is as you chose." in answer
    assert "gets the new text" not in answer
    campaign.refresh_from_db()
    assert (campaign.failover, campaign.uncertain_policy, campaign.expire_after_h) == ("other", "resend", 5)
    again = as_alice.post(at("text", campaign), wanted, follow=True)
    assert "Nothing was changed." in words(again)


def test_an_end_that_has_passed_is_refused_beside_its_field(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now() - timedelta(hours=3))
    answer = as_alice.post(at("text", campaign), {**SAFE, "text": "Hi", "expire_after_h": "2"})
    assert answer.status_code == 422
    assert "It started 3 hours 1 minute ago: this time has passed." in words(answer)


def test_an_edit_of_a_started_campaign_is_refused_with_the_way_out(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, name="Spring")
    answer = as_alice.post(at("edit", campaign), filled(workspace, name="Changed"), follow=True)
    assert "Only a draft can be edited" in words(answer)
    assert Campaign.objects.get().name == "Spring"


def test_a_draft_that_is_not_ready_says_why_and_does_not_start(workspace: Workspace, as_alice: Client) -> None:
    campaign = make_campaign(workspace)
    answer = as_alice.post(at("start", campaign))
    assert answer.status_code == 422
    assert "Nobody is in the audience. No linked device is chosen." in words(answer)
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT


def test_a_start_in_the_future_is_a_schedule_that_can_be_taken_back(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    start_at = timezone.now() + timedelta(days=2)
    campaign = make_campaign(workspace, devices=(make_device(workspace),), start_at=start_at)
    as_alice.post(at("start", campaign))
    page = words(as_alice.get(at("campaign", campaign)))
    assert f"Starts {start_at.astimezone(workspace.zone):%a %-d %b %Y, %H:%M} (Europe/Berlin)." in page
    answer = as_alice.post(at("unschedule", campaign), headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == at("campaign", campaign)
    campaign.refresh_from_db()
    assert (campaign.state, campaign.start_at) == (CampaignState.DRAFT, start_at)


def test_a_draft_is_deleted_and_nothing_else_is(workspace: Workspace, as_alice: Client) -> None:
    draft, running = make_campaign(workspace), planned_campaign(workspace)
    assert as_alice.post(at("delete", draft)).headers["Location"] == reverse("campaigns:list")
    assert "Only a draft can be deleted" in words(as_alice.post(at("delete", running), follow=True))
    assert list(Campaign.objects.all()) == [running]


# ---- what the form shows while somebody writes


def test_the_preview_is_what_contact_n_of_the_audience_reads(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, name="Ann Lee", tags=("vip",), fields={"City": "Ipoh"})
    make_contact(workspace, name="Not chosen")
    make_contact(workspace, name="Opted out", tags=("vip",), opted_out_at=timezone.now())
    make_contact(workspace, name="Ben Ong", tags=("vip",))
    asked = {"text": "Hi *{{ first_name }}* of {{ city }}, {{ nmae }}", "tags": [Tag.objects.get().pk]}
    first = as_alice.post(reverse("campaigns:preview"), asked)
    assert "Hi <strong>Ann</strong> of Ipoh, " in first.content.decode()
    assert "Contact 1 of 2: Ann Lee" in words(first)
    assert "No contact has nmae" in words(first)
    second = words(as_alice.post(reverse("campaigns:preview"), {**asked, "number": "2"}))
    assert "Contact 2 of 2: Ben Ong" in second
    assert "Contact 2 of 2" in words(as_alice.post(reverse("campaigns:preview"), {**asked, "number": "99999"}))
    assert "closing }} is missing" in words(
        as_alice.post(reverse("campaigns:preview"), {**asked, "text": "Hi {{ name"})
    )


def test_a_preview_never_shows_people_of_others(workspace: Workspace, as_alice: Client) -> None:
    other = make_workspace()
    make_contact(other, name="Secret", tags=("theirs",))
    for asked in ({"audience": "everyone"}, {"tags": [Tag.objects.get().pk]}):
        assert "Secret" not in words(as_alice.post(reverse("campaigns:preview"), {"text": "{{ name }}", **asked}))
        assert "0 people can be reached" in words(as_alice.get(reverse("campaigns:audience"), asked))


@pytest.mark.parametrize("nonsense", ["x", "-1", "9" * 40, "1 OR 1=1", "²"])
def test_nonsense_in_the_fragments_is_no_error(workspace: Workspace, as_alice: Client, nonsense: str) -> None:
    asked = {"tags": nonsense, "devices": nonsense, "number": nonsense, "min_delay": nonsense, "text": "x"}
    assert as_alice.post(reverse("campaigns:preview"), asked).status_code == 200
    assert as_alice.get(reverse("campaigns:audience"), asked).status_code == 200


def test_the_count_says_who_opted_out_and_how_long_it_takes(workspace: Workspace, as_alice: Client) -> None:
    for _ in range(90):
        make_contact(workspace)
    make_contact(workspace, opted_out_at=timezone.now())
    devices = [make_device(workspace, min_delay=20, max_delay=40).pk for _ in range(3)]
    asked: dict[str, Any] = {"audience": "everyone", "devices": devices}
    found = words(as_alice.get(reverse("campaigns:audience"), asked))
    assert "90 people can be reached" in found
    assert "1 more has opted out and will be skipped" in found
    assert "Through 3 devices this takes about 15 minutes" in found


# ---- one campaign, live


def test_moves_answer_with_the_live_region(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    for move, state in (("pause", "Paused"), ("resume", "Running"), ("cancel", "Cancelled")):
        answer = as_alice.post(at(move, campaign), headers={"HX-Request": "true"})
        assert 'id="campaign-live"' in answer.content.decode()
        assert state in words(answer)
    late = words(as_alice.post(at("resume", campaign), headers={"HX-Request": "true"}))
    assert "It could not be resumed. It is cancelled now." in late
    assert figures(streams_of([campaign])[campaign.pk])["skipped"] == 4


def test_cancel_says_how_many_people_it_touches(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, people=5)
    Stream.objects.filter(campaign=campaign, pending=3).update(pending=2, sent=1)
    assert "This touches 4 people" in words(as_alice.get(at("campaign", campaign)))


def test_the_live_partial_is_the_same_for_everybody(workspace: Workspace, as_alice: Client, as_bob: Client) -> None:
    campaign = varied_campaign(workspace)
    seen = {
        client.get(at("campaign", campaign), headers={"HX-Request": "true"}).content for client in (as_alice, as_bob)
    }
    assert len(seen) == 1
    page = seen.pop().decode()
    assert "csrf" not in page.lower()
    assert "looks-only" in as_bob.get(at("campaign", campaign)).content.decode()


def test_uncertain_is_hidden_at_zero(workspace: Workspace, as_alice: Client) -> None:
    assert "Uncertain" not in words(as_alice.get(at("campaign", planned_campaign(workspace))))
    assert "Uncertain" in words(as_alice.get(at("campaign", varied_campaign(workspace))))


def test_the_text_of_a_running_campaign_is_changed_for_the_unsent(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    campaign.tag_links.create(workspace=workspace, tag=Tag.objects.create(workspace=workspace, name="vip"))
    form = as_alice.get(at("text", campaign)).content.decode()
    assert f'name="tags" value="{Tag.objects.get().pk}"' in form
    assert 'data-insert="{{ first_name }}"' in form
    refused = as_alice.post(at("text", campaign), {"text": "{% for %}"})
    assert refused.status_code == 422
    answer = words(as_alice.post(at("text", campaign), {**SAFE, "text": "New {{ name }}"}, follow=True))
    assert "Everyone not written to yet gets the new text." in answer
    assert "As it would read now." in words(as_alice.get(at("recipients", campaign)))
    assert "New Person" in words(as_alice.get(at("recipients", campaign)))


def test_planning_shows_how_far_it_is(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace)
    Campaign.objects.filter(pk=campaign.pk).update(planned_at=None, recipients=1234)
    assert "Planning: 1,234 people have a place so far" in words(as_alice.get(at("campaign", campaign)))


def test_the_history_names_who_did_what(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    as_alice.post(at("start", campaign))
    as_alice.post(at("pause", campaign))
    found = words(as_alice.get(at("campaign", campaign)))
    assert f"Paused {workspace.owner.email}" in found
    assert f"Started {workspace.owner.email}" in found


def test_the_rate_is_measured_from_counters_and_says_over_what(workspace: Workspace, time_machine: Any) -> None:
    cache.clear()
    campaign = planned_campaign(workspace, people=100, devices=1)
    start = timezone.now()
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=start)
    campaign.refresh_from_db()

    def look(seconds: int, sent: int) -> dict[str, Any]:
        time_machine.move_to(start + timedelta(seconds=seconds), tick=False)
        Stream.objects.filter(campaign=campaign).update(sent=sent, pending=100 - sent)
        return live_context(campaign, streams_of([campaign])[campaign.pk])

    assert look(0, 0)["rate"] is None
    early = look(30, 10)["rate"]
    assert (early.per_minute, early.over) == (pytest.approx(20), "on average since the start")
    look(300, 40)
    later = look(540, 70)
    assert (later["rate"].per_minute, later["rate"].over) == (pytest.approx(7.5), "in the last 4 minutes")
    assert later["left"] == "4 minutes"


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
