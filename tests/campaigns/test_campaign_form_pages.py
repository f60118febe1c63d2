"""Writing a campaign: its steps, what they say beside each field and while somebody writes, review and start."""

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
from campaigns.actions.templates import save_template
from campaigns.compose import parse, render
from campaigns.models import Campaign, CampaignState, Content, Message, Segment, Tag, Template, Variant
from campaigns.steps import AUDIENCE, DEVICES, MESSAGE, STEPS, WHEN, next_step
from tests.campaigns.campaign_cases import at, planned_campaign, words
from tests.campaigns.form_cases import SAFE, filled, step_url, write
from tests.factories import make_campaign, make_contact, make_device, make_media, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, timezone="Europe/Berlin")


def save(client: Client, workspace: Workspace, step: str, **fields: Any) -> tuple[Any, Campaign]:
    """The answer to a step of a new draft, and the draft."""
    campaign = make_campaign(workspace)
    answer = client.post(step_url(campaign, step), filled(step, **fields))
    campaign.refresh_from_db()
    return answer, campaign


def test_a_campaign_is_written_reviewed_and_started_once(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = write(as_alice, workspace)
    review = words(as_alice.get(at("campaign", campaign)))
    assert "Start: 1 person" in review
    for _ in range(2):
        answer = as_alice.post(at("start", campaign), {"version": campaign.version})
        assert answer.headers["Location"] == at("campaign", campaign)
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    assert AuditEntry.objects.filter(target=campaign.target, action="campaign.started").count() == 1
    assert "It was started already" in words(as_alice.get(at("campaign", campaign)))


def test_each_step_leads_to_the_next_and_can_be_jumped_to(workspace: Workspace, as_alice: Client) -> None:
    answer = as_alice.post(reverse("campaigns:create"), filled(AUDIENCE))
    campaign = Campaign.objects.get()
    assert answer.headers["Location"] == step_url(campaign, MESSAGE)
    assert "(complete)" not in words(as_alice.get(step_url(campaign, MESSAGE))).split("Message")[1]
    answer = as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, go=WHEN))
    assert answer.headers["Location"] == step_url(campaign, WHEN)
    answer = as_alice.post(step_url(campaign, WHEN), filled(WHEN))
    assert answer.headers["Location"] == at("campaign", campaign)
    # Devices were passed over: an edit goes on there.
    assert as_alice.get(at("edit", campaign)).headers["Location"] == step_url(campaign, DEVICES)
    marks = as_alice.get(step_url(campaign, DEVICES)).context["steps"]
    assert [step.key for step in marks if step.done] == [AUDIENCE, MESSAGE, WHEN]
    assert as_alice.get(step_url(campaign, "nowhere")).status_code == 404


def test_the_form_begins_with_what_its_address_names_and_the_only_device(
    as_alice: Client, workspace: Workspace
) -> None:
    make_contact(workspace, tags=("guests & friends", "vip"))
    device = make_device(workspace)
    segment = Segment.objects.create(workspace=workspace, name="Regulars")
    theirs = Segment.objects.create(workspace=make_workspace(), name="Theirs")
    asked = {"tag": ["guests & friends", "no such tag"], "segment": [str(segment.uuid), str(theirs.uuid), "x"]}
    chosen = as_alice.get(reverse("campaigns:create"), asked).context["form"]
    assert chosen.initial["tags"] == [Tag.objects.for_workspace(workspace).get(name="guests & friends").pk]
    assert chosen.initial["segments"] == [segment.pk]
    as_alice.post(reverse("campaigns:create"), filled(AUDIENCE))
    assert [link.device for link in Campaign.objects.get().device_links.all()] == [device]
    make_device(workspace)
    as_alice.post(reverse("campaigns:create"), filled(AUDIENCE))
    assert not Campaign.objects.latest("pk").device_links.exists()


def test_a_new_campaign_may_begin_with_a_template_and_a_day(workspace: Workspace, as_alice: Client) -> None:
    template = save_template(workspace, workspace.owner, "Thanks", "Thank you {{ name }}", make_media(workspace))
    page = as_alice.get(reverse("campaigns:create"), {"template": str(template.uuid), "day": "2031-07-01"})
    assert "Thanks" in words(page)
    assert "Tuesday, 1 July 2031" in words(page)
    hidden = {name: re.search(f'name="{name}" value="([^"]+)"', page.content.decode()) for name in ("template", "day")}
    as_alice.post(reverse("campaigns:create"), filled(AUDIENCE, **{name: at[1] for name, at in hidden.items() if at}))
    campaign = Campaign.objects.get()
    assert (campaign.content.text, campaign.content.media) == ("Thank you {{ name }}", template.content.media)
    assert campaign.content != template.content
    assert campaign.start_at == datetime(2031, 7, 1, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    assert as_alice.get(reverse("campaigns:create"), {"template": "x", "day": "x", "segment": "\0"}).status_code == 200


def test_a_template_takes_the_place_of_the_text_and_a_message_becomes_one(
    workspace: Workspace, as_alice: Client
) -> None:
    template = save_template(workspace, workspace.owner, "Thanks", "Thank you", None)
    use = {"template": template.uuid, "use_template": "1"}
    answer, campaign = save(as_alice, workspace, MESSAGE, **use)
    assert answer.headers["Location"] == step_url(campaign, MESSAGE)
    assert campaign.content.text == "Thank you"
    keep = filled(MESSAGE, text="Fresh", keep_template="1", template_name="Fresh one")
    as_alice.post(step_url(campaign, MESSAGE), keep)
    assert Template.objects.get(name="Fresh one").content.text == "Fresh"
    again = as_alice.post(step_url(campaign, MESSAGE), keep, follow=True)
    assert "There is a template called “Fresh one” already" in words(again)


def test_what_is_wrong_stands_beside_the_field_and_everything_else_is_saved(
    workspace: Workspace, as_alice: Client
) -> None:
    typed = filled(AUDIENCE, name="", audience="everyone", hold_out="95", not_contacted_days="14")
    refused = as_alice.post(reverse("campaigns:create"), typed)
    assert refused.status_code == 422
    assert 'value="95"' in refused.content.decode()
    assert not Campaign.objects.exists()
    answer, campaign = save(as_alice, workspace, AUDIENCE, name="", hold_out="95", not_contacted_days="14")
    page = answer.content.decode()
    assert answer.status_code == 422
    for said in ("Give the campaign a name.", "At most 90; empty: nobody.", 'value="95"', "All the rest is saved."):
        assert said in page
    assert (campaign.not_contacted_days, campaign.hold_out, bool(campaign.name)) == (14, 0, True)
    answer, campaign = save(as_alice, workspace, WHEN, when="at", start_at="2020-01-01T09:00", expire_after_h="5")
    assert "This time has passed." in answer.content.decode()
    assert 'value="2020-01-01T09:00"' in answer.content.decode()
    assert (campaign.start_at, campaign.expire_after_h) == (None, 5)
    answer, campaign = save(as_alice, workspace, MESSAGE, text="Hi {% include 'x' %}", file="")
    assert "Line 1, column 7: {% include %} cannot be used here" in answer.content.decode()
    assert "Hi {% include &#x27;x&#x27; %}" in answer.content.decode()
    assert campaign.content.text == "Hello {{ name }}"


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
    answer, campaign = save(as_alice, workspace, MESSAGE, text=text)
    assert answer.status_code == 422
    assert "invalid-feedback" in answer.content.decode()
    assert campaign.content.text == "Hello {{ name }}"
    second, campaign = save(as_alice, workspace, MESSAGE, text="A", text_2=text)
    assert (second.status_code == 422) == bool(text.strip() and text != " ")
    assert not campaign.variants.exists()


def test_a_script_in_any_text_is_only_text(workspace: Workspace, as_alice: Client) -> None:
    nasty = "<script>alert(1)</script>"
    make_contact(workspace, name=nasty, fields={nasty: nasty}, tags=(nasty,))
    Segment.objects.create(workspace=workspace, name=nasty)
    save_template(workspace, workspace.owner, nasty, nasty, None)
    device = make_device(workspace, name=nasty)
    tag = Tag.objects.get()
    campaign = write(
        as_alice, workspace, name=nasty, text=nasty, text_2=nasty, devices=[device.pk], tags=[tag.pk], audience="tags"
    )
    make_campaign(workspace, name=nasty, launched_at=timezone.now())
    pages = [
        as_alice.get(at("campaign", campaign)),
        *(as_alice.get(step_url(campaign, step)) for step in STEPS),
        as_alice.get(reverse("campaigns:create")),
        as_alice.post(reverse("campaigns:preview"), {"text": nasty, "campaign": campaign.uuid}),
        as_alice.get(reverse("campaigns:list")),
        as_alice.get(reverse("campaigns:calendar")),
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


def test_what_belongs_to_others_is_no_choice(workspace: Workspace, as_alice: Client) -> None:
    other = make_workspace()
    make_contact(other, tags=("theirs",))
    segment = Segment.objects.create(workspace=other, name="Theirs")
    earlier = make_campaign(other, launched_at=timezone.now())
    theirs: dict[str, Any] = {"tags": [Tag.objects.get().pk], "segments": [segment.pk], "exclude_tags": [segment.pk]}
    answer, campaign = save(as_alice, workspace, AUDIENCE, audience="earlier", earlier=str(earlier.uuid), **theirs)
    assert answer.status_code == 422
    assert "This campaign is gone. Choose another." in words(answer)
    assert answer.content.decode().count("Select a valid choice") == 3
    assert (campaign.retarget_of, campaign.tag_links.count(), campaign.segment_links.count()) == (None, 0, 0)
    answer, campaign = save(as_alice, workspace, DEVICES, devices=[make_device(other).pk])
    assert "Select a valid choice" in answer.content.decode()
    assert not campaign.device_links.exists()


def test_a_device_that_is_not_linked_cannot_be_chosen_and_without_any_the_next_step_is_named(
    workspace: Workspace, as_alice: Client
) -> None:
    device = make_device(workspace, linked=False)
    answer, campaign = save(as_alice, workspace, DEVICES, devices=[device.pk])
    assert answer.status_code == 422
    assert reverse("devices:index") in as_alice.get(step_url(campaign, DEVICES)).content.decode()
    assert save(as_alice, workspace, DEVICES, devices=[])[0].status_code == 302


# ---- who gets it


def test_an_audience_is_chosen_and_narrowed_and_reads_the_same_again(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, tags=("vip", "staff"))
    vip, staff = Tag.objects.get(name="vip"), Tag.objects.get(name="staff")
    regulars, away = (Segment.objects.create(workspace=workspace, name=name) for name in ("Regulars", "Away"))
    earlier = make_campaign(workspace, launched_at=timezone.now())
    wanted: dict[str, Any] = {
        "audience": "earlier",
        "earlier": str(earlier.uuid),
        "retarget": "not_replied",
        "tags": [vip.pk],
        "exclude_tags": [staff.pk],
        "segments": [regulars.pk],
        "exclude_segments": [away.pk],
        "not_contacted_days": "30",
        "hold_out": "10",
    }
    answer, campaign = save(as_alice, workspace, AUDIENCE, **wanted)
    assert answer.status_code == 302
    assert (campaign.everyone, campaign.retarget_of, campaign.retarget) == (False, earlier, "not_replied")
    assert (campaign.not_contacted_days, campaign.hold_out) == (30, 10)
    assert set(campaign.tag_links.values_list("tag", "excluded")) == {(vip.pk, False), (staff.pk, True)}
    assert set(campaign.segment_links.values_list("segment", "excluded")) == {(regulars.pk, False), (away.pk, True)}
    form = as_alice.get(step_url(campaign, AUDIENCE)).context["form"]
    again = {name: form[name].value() for name in form.fields}
    before = (Campaign.objects.filter(pk=campaign.pk).values(*COMPARED).get(), links_of(campaign))
    assert as_alice.post(step_url(campaign, AUDIENCE), again).status_code == 302
    assert (Campaign.objects.filter(pk=campaign.pk).values(*COMPARED).get(), links_of(campaign)) == before
    # A tag may move from one side to the other.
    swapped = {**wanted, "tags": [staff.pk], "exclude_tags": [vip.pk]}
    assert as_alice.post(step_url(campaign, AUDIENCE), filled(AUDIENCE, **swapped)).status_code == 302
    assert set(campaign.tag_links.values_list("tag", "excluded")) == {(vip.pk, True), (staff.pk, False)}
    both = as_alice.post(step_url(campaign, AUDIENCE), filled(AUDIENCE, **{**wanted, "exclude_tags": [vip.pk]}))
    assert "“vip” cannot be both chosen and left out." in words(both)
    none = as_alice.post(step_url(campaign, AUDIENCE), filled(AUDIENCE, audience="earlier"))
    assert "Choose the campaign whose recipients you mean." in words(none)


COMPARED = [
    field.attname for field in Campaign._meta.concrete_fields if field.name not in ("version", "edited_at")
]  # fmt: skip


def links_of(campaign: Campaign) -> list[set[Any]]:
    return [
        set(campaign.tag_links.values_list("tag", "excluded")),
        set(campaign.segment_links.values_list("segment", "excluded")),
        set(campaign.device_links.values_list("device")),
        set(campaign.variants.values_list("number", "content", "share")),
    ]


def test_the_count_says_who_is_left_out_and_why(workspace: Workspace, as_alice: Client) -> None:
    for number in range(10):
        make_contact(workspace, tags=("staff",) if number < 2 else ())
    planned = planned_campaign(workspace, people=3)
    Message.objects.filter(campaign=planned).update(state="sent", sent_at=timezone.now())
    written = set(Message.objects.filter(campaign=planned).values_list("contact", flat=True))
    asked: dict[str, Any] = {
        "audience": "everyone",
        "exclude_tags": Tag.objects.get().pk,
        "not_contacted_days": "7",
        "hold_out": "50",
    }
    found = words(as_alice.get(reverse("campaigns:audience"), asked))
    assert len(written) == 13
    assert "0 people can be reached" in found
    assert "2 more get nothing: they have an excluded tag or are in an excluded segment." in found
    assert "11 more get nothing: they got a message within 7 days." in found
    held = words(as_alice.get(reverse("campaigns:audience"), {"audience": "everyone", "hold_out": "50"}))
    assert "7 people can be reached" in held
    assert "6 more get nothing: they are held out, to compare with." in held


# ---- what it says


def test_variants_get_their_shares_or_equal_ones(workspace: Workspace, as_alice: Client) -> None:
    _, campaign = save(as_alice, workspace, MESSAGE, text="A", text_3="C", share="70", share_3="30")
    assert [(v.number, v.content.text, v.share) for v in campaign.variants.order_by("number")] == [
        (1, "A", 70),
        (2, "C", 30),
    ]
    assert campaign.content.text == "A"
    kept = list(campaign.variants.order_by("number"))
    form = as_alice.get(step_url(campaign, MESSAGE)).context["form"]
    again = {name: form[name].value() for name in form.fields if name != "file"}
    again = {name: "" if value is None else value for name, value in again.items()}
    as_alice.post(step_url(campaign, MESSAGE), again)
    assert [v.content_id for v in campaign.variants.order_by("number")] == [v.content_id for v in kept]
    _, campaign = save(as_alice, workspace, MESSAGE, text="A", text_2="B", text_3="C")
    assert [variant.share for variant in campaign.variants.order_by("number")] == [34, 33, 33]
    as_alice.post(step_url(campaign, MESSAGE), filled(MESSAGE, text="Only"))
    assert not campaign.variants.exists()


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"share": "50", "share_2": "40"}, "The shares add up to 90 percent. Together they must be 100."),
        ({"share": "50"}, "The shares add up to 50 percent."),
        ({"share": "0", "share_2": "100"}, "At least 1 percent."),
        ({"share": "x", "share_2": "9e9"}, "A whole number of percent."),
    ],
)
def test_shares_that_make_no_whole_are_refused(
    workspace: Workspace, as_alice: Client, shares: dict[str, str], said: str
) -> None:
    answer, campaign = save(as_alice, workspace, MESSAGE, text="A", text_2="B", **shares)
    assert answer.status_code == 422
    assert said in words(answer)
    assert not campaign.variants.exists()
    assert ">B</textarea>" in answer.content.decode()


def test_a_running_test_keeps_its_variants_and_shares_and_gets_other_texts(
    workspace: Workspace, as_alice: Client
) -> None:
    make_contact(workspace)
    campaign = write(as_alice, workspace, text="A", text_2="B", share="60", share_2="40")
    launch_campaign(campaign, workspace.owner)
    refused = as_alice.post(at("text", campaign), {**SAFE, "text": "A", "text_2": ""})
    assert "Write this variant too" in words(refused)
    as_alice.post(at("text", campaign), {**SAFE, "text": "A", "text_2": "B2", "text_3": "C", "share": "1"})
    assert [(v.content.text, v.share) for v in campaign.variants.order_by("number")] == [("A", 60), ("B2", 40)]


def test_the_message_goes_to_ones_own_number_as_the_person_in_the_preview_gets_it(
    workspace: Workspace, as_alice: Client, as_charlie: Client
) -> None:
    make_contact(workspace, name="Ann {Lee}")
    device, media = make_device(workspace), make_media(workspace)
    campaign = make_campaign(workspace)
    data = {
        "text": "Hi",
        "text_2": "Dear {{ name }}",
        "look": "text_2",
        "media_uuid": media.uuid,
        "campaign": campaign.uuid,
        "phone": "+60123456789",
        "device": device.pk,
    }
    answer = as_alice.post(at("test_send", campaign), data)
    assert answer.status_code == 200
    message = Message.objects.get()
    assert (message.phone, message.campaign, message.content.media) == ("+60123456789", None, media)
    assert render(parse(message.content.text), {}) == "Dear Ann {Lee}"
    wrong = as_alice.post(at("test_send", campaign), {**data, "phone": "x", "text_2": "{{"})
    assert (wrong.status_code, "invalid-feedback" in wrong.content.decode()) == (422, True)
    foreign = make_device(make_workspace())
    assert as_alice.post(at("test_send", campaign), {**data, "device": foreign.pk}).status_code == 422
    assert "closing }} is missing" in words(as_alice.post(at("test_send", campaign), {**data, "text_2": "{{ name"}))
    assert as_charlie.post(at("test_send", campaign), data).status_code == 404
    assert Message.objects.count() == 1


# ---- when


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("2031-03-30T02:30", "02:30 does not exist on 30 Mar 2031 in Europe/Berlin: clocks go forward. Choose 03:30"),
        ("2031-10-26T02:30", "02:30 comes twice on 26 Oct 2031 in Europe/Berlin: clocks go back. Choose which one"),
        ("tomorrow", "Choose a day and a time."),
        ("", "Choose a day and a time."),
        ("2031-02-30T10:00", "Choose a day and a time."),
    ],
)
def test_a_time_that_is_none_or_two_is_refused(workspace: Workspace, as_alice: Client, typed: str, said: str) -> None:
    answer, campaign = save(as_alice, workspace, WHEN, when="at", start_at=typed)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert campaign.start_at is None


@pytest.mark.parametrize(
    ("zone", "typed", "fold", "offset"),
    [
        ("Europe/Berlin", "2031-07-01T09:00", "", 2),
        ("Europe/Berlin", "2031-12-01T09:00", "", 1),
        ("Europe/Berlin", "2031-10-26T02:30", "0", 2),
        ("Europe/Berlin", "2031-10-26T02:30", "1", 1),
        ("America/New_York", "2031-03-09T01:59", "", -5),
        ("America/New_York", "2031-03-09T03:00", "", -4),
        ("America/New_York", "2031-11-02T01:30", "0", -4),
        ("America/New_York", "2031-11-02T01:30", "1", -5),
        ("Asia/Kuala_Lumpur", "2031-03-09T03:00", "", 8),
        ("UTC", "2031-11-02T01:30", "", 0),
    ],
)
def test_a_time_is_meant_in_the_zone_of_the_workspace(
    workspace: Workspace, as_alice: Client, zone: str, typed: str, fold: str, offset: int
) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(timezone=zone)
    _, campaign = save(as_alice, workspace, WHEN, when="at", start_at=typed, fold=fold)
    naive = datetime.fromisoformat(typed)
    assert campaign.start_at == naive.replace(tzinfo=ZoneInfo("UTC")) - timedelta(hours=offset)
    page = as_alice.get(step_url(campaign, WHEN))
    assert f'value="{typed}"' in page.content.decode()
    assert [value for value, _, chosen in page.context["form"].twice if chosen] == ([fold] if fold else [])


def test_hours_have_both_ends_and_a_stagger_is_minutes(workspace: Workspace, as_alice: Client) -> None:
    answer, campaign = save(as_alice, workspace, WHEN, local_from="09:00", local_to="18:30", stagger="1.5")
    assert answer.status_code == 302
    assert (f"{campaign.local_from:%H:%M}", f"{campaign.local_to:%H:%M}", campaign.stagger_s) == ("09:00", "18:30", 90)
    for hours in ({"local_from": "09:00"}, {"local_to": "9"}, {"local_from": "09:00", "local_to": "09:00"}):
        answer, campaign = save(as_alice, workspace, WHEN, **hours)
        assert (answer.status_code, campaign.local_from) == (422, None)


def test_steps_posted_as_they_are_change_nothing(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace, tags=("vip",))
    device = make_device(workspace)
    tag = Tag.objects.get()
    campaign = write(
        as_alice,
        workspace,
        audience="tags",
        tags=[tag.pk],
        devices=[device.pk],
        when="at",
        start_at="2031-07-01T09:00",
        min_delay="7.5",
        assignment="round_robin",
        device_cap="500",
        canary="20",
        stop_failures="5",
        stop_opt_outs="2",
        failover="ask",
        uncertain_policy="resend",
        expire_after_h="48",
        stagger="2.5",
        local_from="09:00",
        local_to="18:00",
        text="Hi\r\n{{ name }}",
        media_uuid=make_media(workspace).uuid,
    )
    before, links, contents = Campaign.objects.values(*COMPARED).get(), links_of(campaign), Content.objects.count()
    for step in STEPS:
        form = as_alice.get(step_url(campaign, step)).context["form"]
        again = {name: form[name].value() for name in form.fields if name != "file"}
        again = {name: "" if value is None else value for name, value in again.items()}
        assert as_alice.post(step_url(campaign, step), again).status_code == 302
    assert Campaign.objects.values(*COMPARED).get() == before
    assert (links_of(campaign), Content.objects.count()) == (links, contents)
    assert campaign.content.text == "Hi\n{{ name }}"
    assert next_step(campaign) == AUDIENCE


def test_a_draft_whose_second_text_is_empty_is_told_so(workspace: Workspace, as_alice: Client) -> None:
    make_contact(workspace)
    campaign = write(as_alice, workspace)
    Variant.objects.create(workspace=workspace, campaign=campaign, number=1, share=50, content=campaign.content)
    second = Content.objects.create(workspace=workspace, text=" ")
    Variant.objects.create(workspace=workspace, campaign=campaign, number=2, share=50, content=second)
    assert next_step(campaign) == MESSAGE
    review = as_alice.get(at("campaign", campaign))
    assert "The text is empty." in words(review)
    Content.objects.filter(pk=second.pk).update(text="{{ name")
    assert next_step(campaign) == MESSAGE
    Content.objects.filter(pk=second.pk).update(text="Hello too")
    assert next_step(campaign) == AUDIENCE


@pytest.mark.parametrize(
    ("step", "field", "value", "said"),
    [
        (DEVICES, "device_cap", "0", "At least one person; empty: no cap."),
        (DEVICES, "device_cap", "2.5", "A whole number of people; empty: no cap."),
        (DEVICES, "device_cap", "99999999999999999999", "At most 10,000,000 people; empty: no cap."),
        (DEVICES, "canary", "0", "At least 1; empty: everybody at once."),
        (DEVICES, "stop_failures", "101", "At most 100; empty: never."),
        (DEVICES, "stop_opt_outs", "few", "A whole number of percent; empty: never."),
        (WHEN, "expire_after_h", "-1", "At least one hour; empty: never."),
        (WHEN, "expire_after_h", "8761", "At most 8,760 hours, which is a year; empty: never."),
        (WHEN, "expire_after_h", "soon", "A whole number of hours; empty: never."),
        (WHEN, "stagger", "-1", "Minutes, 0 or more."),
        (WHEN, "stagger", "inf", "Minutes, as a number; empty: all at once."),
        (DEVICES, "min_delay", "nan", "Seconds, as a number."),
        (DEVICES, "min_delay", "86401", "At most 86,400 seconds, which is a day."),
        (DEVICES, "assignment", "random", "Select a valid choice. random is not one of the available choices."),
        (DEVICES, "failover", "", "This field is required."),
        (DEVICES, "uncertain_policy", "twice", "Select a valid choice. twice is not one of the available choices."),
        (AUDIENCE, "not_contacted_days", "0", "At least 1; empty: nobody."),
    ],
)
def test_every_bad_value_is_told_beside_its_field_and_kept(
    workspace: Workspace, as_alice: Client, step: str, field: str, value: str, said: str
) -> None:
    make_device(workspace)
    answer, campaign = save(as_alice, workspace, step, **{field: value})
    assert answer.status_code == 422
    page = answer.content.decode()
    beside = page[page.index(f'name="{field}"') :][:3000]
    assert said in beside
    assert campaign.steps_done == 0
    if field not in ("assignment", "failover", "uncertain_policy"):
        assert f'value="{value}"' in beside


def test_what_can_go_wrong_is_folded_away_until_it_is_chosen(workspace: Workspace, as_alice: Client) -> None:
    device = make_device(workspace)

    def unfolded(campaign: Campaign) -> bool:
        form = re.search(r"<details[^>]*>", as_alice.get(step_url(campaign, DEVICES)).content.decode())
        assert form is not None
        return " open" in form[0]

    assert not unfolded(make_campaign(workspace, devices=(device,)))
    for chosen in ({"failover": "ask"}, {"uncertain_policy": "assume_sent"}, {"stop_failures": 3}):
        assert unfolded(make_campaign(workspace, devices=(device,), **chosen))


def test_the_form_is_honest_about_sending_again(workspace: Workspace, as_alice: Client) -> None:
    make_device(workspace)
    page = words(as_alice.get(step_url(make_campaign(workspace), DEVICES)))
    assert "Send it again after 1 day It may arrive twice." in page
    assert "Count it as sent after 1 day It may never have arrived." in page


def test_the_count_beside_the_form_knows_who_has_no_room_and_who_comes_too_late(
    workspace: Workspace, as_alice: Client
) -> None:
    for _ in range(50):
        make_contact(workspace)
    device = make_device(workspace, min_delay=600, max_delay=600)
    campaign = make_campaign(workspace, expire_after_h=1)
    asked: dict[str, Any] = {"campaign": campaign.uuid, "devices": device.pk, "assignment": "sticky"}
    said = words(as_alice.get(reverse("campaigns:audience"), {**asked, "device_cap": "20"}))
    assert "30 people get nothing: 1 number of at most 20 people each." in said
    assert "About 14 people get nothing: sending takes about 3 hours 20 minutes, and what has not left 1 hour" in said
    assert "1 number of at" not in words(as_alice.get(reverse("campaigns:audience"), {**asked, "device_cap": "-5"}))


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
    answer = as_alice.post(step_url(campaign, AUDIENCE), filled(AUDIENCE, name="Changed"), follow=True)
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
    assert as_alice.post(at("start", campaign)).status_code == 400
    as_alice.post(at("start", campaign), {"version": campaign.version})
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
    assert "1 more gets nothing: they opted out." in found
    assert "Through 3 devices this takes about 15 minutes" in found
