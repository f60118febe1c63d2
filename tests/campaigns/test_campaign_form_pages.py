"""Writing a campaign: the form, what it says beside each field and while somebody writes, review and start."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.models import Campaign, CampaignState, Content, Tag
from tests.campaigns.campaign_cases import at, planned_campaign, words
from tests.campaigns.form_cases import SAFE, filled
from tests.factories import make_campaign, make_contact, make_device, make_media, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, timezone="Europe/Berlin")


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
        media_uuid=make_media(workspace).uuid,
    )
    as_alice.post(reverse("campaigns:create"), data)
    before = Campaign.objects.values().get()
    content = Content.objects.get()
    campaign = Campaign.objects.get()
    form = as_alice.get(at("edit", campaign)).context["form"]
    again = {name: form[name].value() for name in form.fields if name != "file"}
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
    assert "gets the new message" not in answer
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
