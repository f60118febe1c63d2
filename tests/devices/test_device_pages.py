"""The list of devices, a device's page and its buttons, for Alice (owner), Bob (viewer) and Charlie (a stranger)."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.test.signals import template_rendered
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.models import Campaign, Lane, Stream
from devices.live import push_devices
from devices.models import Device, DeviceEvent, DeviceState, Request
from tests.factories import make_campaign, make_device, make_host, make_workspace

ON_A_DEVICE = ["device", "pair", "rename", "pace", "reconnect", "unlink", "remove", "cancel_pairing", "play_phone"]
CHANGING = ["rename", "pace", "reconnect", "unlink", "remove", "cancel_pairing", "play_phone", "pair"]


def url(name: str, device: Device) -> str:
    return reverse(f"devices:{name}", args=[device.uuid])


def online(workspace: Workspace, **fields: Any) -> Device:
    return make_device(workspace, owner=make_host(), **fields)


def region(client: Client, address: str, target: str = "") -> str:
    return client.get(address, headers={"HX-Request": "true", "HX-Target": target}).content.decode()


# ---- who may


@pytest.mark.parametrize("name", ON_A_DEVICE)
def test_a_stranger_gets_404_and_changes_nothing(as_charlie: Client, workspace: Workspace, name: str) -> None:
    device = online(workspace)
    before = Device.objects.filter(pk=device.pk).values().get()
    assert as_charlie.get(url(name, device)).status_code in (404, 405)
    assert as_charlie.post(url(name, device), {"agreed": "on", "name": "Mine"}).status_code in (404, 405)
    assert Device.objects.filter(pk=device.pk).values().get() == before


@pytest.mark.parametrize("name", CHANGING)
def test_a_viewer_changes_nothing(as_bob: Client, workspace: Workspace, name: str) -> None:
    device = online(workspace)
    assert as_bob.post(url(name, device), {"agreed": "on", "name": "Mine"}).status_code == 403
    assert not DeviceEvent.objects.exists()


def test_a_viewer_reads_the_pages_without_their_buttons(as_bob: Client, workspace: Workspace) -> None:
    device = online(workspace, min_delay=7)
    page = as_bob.get(url("device", device)).content.decode()
    assert "7 to 30 seconds" in page
    assert url("unlink", device) not in page
    assert reverse("devices:add") not in as_bob.get(reverse("devices:index")).content.decode()
    assert as_bob.get(reverse("devices:add")).status_code == 403
    assert as_bob.get(url("pair", device)).status_code == 403


def test_the_list_shows_only_the_own_workspace(as_alice: Client, workspace: Workspace) -> None:
    online(workspace, name="Mine")
    online(make_workspace(), name="Somebody else's")
    page = as_alice.get(reverse("devices:index")).content.decode()
    assert "Mine" in page
    assert "Somebody else" not in page


# ---- the list


def test_an_empty_list_names_the_next_step(as_alice: Client) -> None:
    page = as_alice.get(reverse("devices:index")).content.decode()
    assert "Add the first device" in page
    assert reverse("devices:add") in page


def test_the_list_counts_against_the_limit_and_hides_the_button_at_it(as_alice: Client, workspace: Workspace) -> None:
    workspace.device_limit = 2
    workspace.save()
    online(workspace)
    page = as_alice.get(reverse("devices:index")).content.decode()
    assert "1 of 2" in page
    assert reverse("devices:add") in page
    online(workspace)
    assert reverse("devices:add") not in as_alice.get(reverse("devices:index")).content.decode()


def test_the_list_is_searched_by_name_and_number_and_filtered_by_state(as_alice: Client, workspace: Workspace) -> None:
    online(workspace, name="Sales", phone="+60111")
    online(workspace, name="Support", phone="+60222", state=DeviceState.OFFLINE)

    def names(query: str) -> list[str]:
        page = region(as_alice, reverse("devices:index") + query)
        return [name for name in ("Sales", "Support") if name in page]

    assert names("?q=sal") == ["Sales"]
    assert names("?q=%2B6022") == ["Support"]
    assert names("?state=offline") == ["Support"]
    assert names("?state=online&q=support") == []
    assert names("?state=nonsense") == ["Sales", "Support"]


def test_htmx_gets_the_list_alone_with_its_filters_kept(as_alice: Client, workspace: Workspace) -> None:
    online(workspace)
    part = region(as_alice, reverse("devices:index") + "?state=online&page=1")
    assert part.lstrip().startswith('<div id="device-list"')
    assert "state=online&amp;page=1" in part


def test_a_device_whose_host_is_dead_says_no_engine_and_is_found_by_it(as_alice: Client, workspace: Workspace) -> None:
    dead = make_host(lease_until=timezone.now() - timedelta(seconds=1))
    make_device(workspace, name="Orphan", owner=dead, state=DeviceState.ONLINE)
    online(workspace, name="Served")
    assert "No engine" in region(as_alice, reverse("devices:index") + "?state=no_engine")
    assert "Served" not in region(as_alice, reverse("devices:index") + "?state=no_engine")
    assert "Orphan" not in region(as_alice, reverse("devices:index") + "?state=online")


def test_what_was_used_counts_for_today_and_this_hour_only(as_alice: Client, workspace: Workspace) -> None:
    now = datetime.now(ZoneInfo(workspace.timezone))
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = now.replace(minute=0, second=0, microsecond=0)
    online(workspace, name="Now", day_start=today, day_used=41, hour_start=hour, hour_used=7, daily_cap=200)
    page = region(as_alice, reverse("devices:index"))
    assert re.search(r"\b41\s", page)
    assert "of 200" in page
    assert ">7<" in page.replace(" ", "").replace("\n", "")
    Device.objects.update(day_start=today - timedelta(days=1), hour_start=hour - timedelta(hours=1))
    page = region(as_alice, reverse("devices:index"))
    assert not re.search(r"\b41\s", page)
    assert ">7<" not in page.replace(" ", "").replace("\n", "")


# ---- adding


def test_where_both_kinds_run_whatsapp_is_offered_first_and_the_page_says_which_it_is(
    as_alice: Client, workspace: Workspace, settings: Any
) -> None:
    settings.DRIVERS = ["simulator", "whatsapp"]
    page = as_alice.get(reverse("devices:add")).content.decode()
    assert page.index('value="whatsapp"') < page.index('value="simulator"')
    assert re.search(r'value="whatsapp"[^>]*checked', page)
    as_alice.post(reverse("devices:add"), {"name": "Sales 1", "driver": "whatsapp"})
    device = Device.objects.get(workspace=workspace)
    assert device.driver == "whatsapp"
    assert "WhatsApp</span>" in region(as_alice, url("device", device), "device-header")
    settings.DRIVERS = ["simulator"]
    assert as_alice.post(reverse("devices:add"), {"name": "Sales 2", "driver": "whatsapp"}).status_code == 422


def test_adding_leads_to_pairing(as_alice: Client, workspace: Workspace) -> None:
    answer = as_alice.post(reverse("devices:add"), {"name": "Sales 1", "driver": "simulator"})
    device = Device.objects.get(workspace=workspace)
    assert answer.status_code == 302
    assert answer["Location"] == url("pair", device)
    assert (device.name, device.min_delay, device.max_delay) == ("Sales 1", 10, 30)


def test_only_drivers_of_this_installation_can_be_chosen(as_alice: Client, workspace: Workspace, settings: Any) -> None:
    assert as_alice.post(reverse("devices:add"), {"name": "Real", "driver": "whatsapp"}).status_code == 422
    assert not Device.objects.exists()
    settings.DRIVERS = ["simulator", "whatsapp"]
    assert as_alice.post(reverse("devices:add"), {"name": "Real", "driver": "whatsapp"}).status_code == 302


def test_the_form_says_that_the_workspace_is_full_and_keeps_what_was_typed(
    as_alice: Client, workspace: Workspace
) -> None:
    workspace.device_limit = 1
    workspace.save()
    online(workspace)
    answer = as_alice.post(reverse("devices:add"), {"name": "One more", "driver": "simulator"})
    assert answer.status_code == 422
    assert "This workspace has its 1 device." in answer.content.decode()
    assert 'value="One more"' in answer.content.decode()


def test_the_workspace_state_and_owner_of_a_device_cannot_be_posted(as_alice: Client, workspace: Workspace) -> None:
    other = make_workspace()
    as_alice.post(
        reverse("devices:add"),
        {"name": "x", "driver": "simulator", "workspace": other.pk, "state": "online", "phone": "+60111", "epoch": 9},
    )
    device = Device.objects.get()
    assert (device.workspace, device.state, device.phone, device.epoch) == (workspace, "new", None, 0)


# ---- one device


def test_the_page_tells_state_reason_number_and_history(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace, state=DeviceState.OFFLINE, state_reason="network is away", phone="+60123")
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="offline", detail="network is away")
    page = as_alice.get(url("device", device)).content.decode()
    for words in (
        "Offline",
        "WhatsApp can&#x27;t be reached.",
        "+60123",
        f'ws-connect="/ws/live/device.{device.uuid}/"',
    ):
        assert words in page


def test_history_is_paged_newest_first(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    for number in range(20):
        DeviceEvent.objects.create(workspace=workspace, device=device, kind="renamed", detail=f"event-{number}-")
    first = region(as_alice, url("device", device), "device-events")
    assert "event-19-" in first
    assert "event-0-" not in first
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = region(as_alice, url("device", device) + older[1], "device-events")
    assert "event-0-" in second
    assert "event-19-" not in second
    assert 'rel="next"' not in second
    assert "event-19-" in region(as_alice, url("device", device) + "?before=nonsense", "device-events")


@pytest.mark.parametrize(
    ("target", "root"),
    [
        ("device-header", '<div id="device-header"'),
        ("device-today", '<div id="device-today"'),
        ("device-unsent", '<p id="device-unsent"'),
        ("device-events", '<div id="device-events"'),
    ],
)
def test_each_live_region_of_the_page_can_be_fetched_alone(
    as_alice: Client, workspace: Workspace, target: str, root: str
) -> None:
    assert region(as_alice, url("device", online(workspace)), target).lstrip().startswith(root)


def test_the_page_says_how_many_unsent_messages_wait(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    campaign: Campaign = make_campaign(workspace, devices=(device,))
    Stream.objects.create(
        workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, pending=1200, waiting=3
    )
    page = as_alice.get(url("device", device)).content.decode()
    assert "1,203 unsent messages wait on this device" in " ".join(page.split())


# ---- buttons


def test_reconnect_and_unlink_write_requests_and_say_what_follows(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    page = as_alice.post(url("reconnect", device), follow=True).content.decode()
    assert "Reconnecting" in page
    page = as_alice.post(url("unlink", device), follow=True).content.decode()
    assert "Unlinking" in page
    device.refresh_from_db()
    assert device.request == Request.UNLINK


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"phone": None, "state": DeviceState.NEW}, "not linked"),
        ({"request": Request.UNLINK}, "under way already"),
        ({"state": DeviceState.BANNED, "banned_until": timezone.now() + timedelta(days=1)}, "has banned this number"),
    ],
)
def test_a_button_that_cannot_do_it_says_why(
    as_alice: Client, workspace: Workspace, fields: dict[str, Any], sentence: str
) -> None:
    assert sentence in as_alice.post(url("reconnect", online(workspace, **fields)), follow=True).content.decode()


def test_renaming_reloads_the_page_or_says_what_is_wrong(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace, name="Sales")
    online(workspace, name="Support")
    taken = as_alice.post(url("rename", device), {"name": "Support"})
    assert taken.status_code == 422
    assert "Another device has this name." in taken.content.decode()
    assert as_alice.post(url("rename", device), {"name": ""}).status_code == 422
    assert as_alice.post(url("rename", device), {"name": "Sales 2"})["HX-Redirect"] == url("device", device)


def test_the_pace_is_saved_or_refused_beside_the_field(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    saved = as_alice.post(
        url("pace", device), {"min_delay": "1.5", "max_delay": "4", "hourly_cap": "", "daily_cap": "90"}
    )
    assert "Saved" in saved.content.decode()
    device.refresh_from_db()
    assert (device.min_delay, device.max_delay, device.hourly_cap, device.daily_cap) == (1.5, 4, None, 90)
    wrong = as_alice.post(url("pace", device), {"min_delay": "9", "max_delay": "4", "hourly_cap": "0", "daily_cap": ""})
    page = wrong.content.decode()
    assert wrong.status_code == 422
    assert "The longest gap is at least the shortest gap." in page
    assert "greater than or equal to 1" in page
    assert 'value="9"' in page
    device.refresh_from_db()
    assert device.min_delay == 1.5


PACE = {"min_delay": "10", "max_delay": "30", "hourly_cap": "", "daily_cap": ""}


def test_sending_hours_are_saved_and_named_with_their_zone(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    assert f"Time in {workspace.timezone}." in as_alice.get(url("device", device)).content.decode()
    as_alice.post(url("pace", device), {**PACE, "sending_from": "22:00", "sending_to": "06:30"})
    device.refresh_from_db()
    assert (device.sending_from, device.sending_to) == (time(22), time(6, 30))
    page = as_alice.get(url("device", device)).content.decode()
    assert 'value="22:00"' in page
    assert 'value="06:30"' in page
    as_alice.post(url("pace", device), {**PACE, "sending_from": "", "sending_to": ""})
    device.refresh_from_db()
    assert (device.sending_from, device.sending_to) == (None, None)


@pytest.mark.parametrize(
    ("hours", "field", "said"),
    [
        ({"sending_from": "09:00"}, "sending_to", "Give both times, or neither."),
        ({"sending_to": "09:00"}, "sending_from", "Give both times, or neither."),
        ({"sending_from": "09:00", "sending_to": "09:00"}, "sending_to", "Choose another end than the beginning"),
        ({"sending_from": "25:00", "sending_to": "09:00"}, "sending_from", "Enter a valid time."),
    ],
)
def test_sending_hours_that_make_no_sense_are_refused_beside_their_field(
    as_alice: Client, workspace: Workspace, hours: dict[str, str], field: str, said: str
) -> None:
    device = online(workspace)
    answer = as_alice.post(url("pace", device), {**PACE, **hours})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page[page.index(f'id="error_1_id_{field}"') :][:300]
    assert page.count("invalid-feedback") == 1
    device.refresh_from_db()
    assert (device.sending_from, device.sending_to) == (None, None)


def test_a_warm_up_begins_on_the_lowest_rung_keeps_its_rung_and_ends(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace)
    page = as_alice.post(url("pace", device), {**PACE, "warm_up": "on"}).content.decode()
    assert "20 → 50 → 120 → 300 messages a day" in page
    assert "Now at <strong>20</strong>" in page
    device.refresh_from_db()
    assert (device.warm_cap, device.warm_day) == (20, timezone.now().astimezone(workspace.zone).date())
    Device.objects.filter(pk=device.pk).update(warm_cap=120, warm_replies=4)
    as_alice.post(url("pace", device), {**PACE, "max_delay": "31", "warm_up": "on"})
    device.refresh_from_db()
    assert (device.warm_cap, device.warm_replies) == (120, 4)
    assert "step 3 of 4" in region(as_alice, url("device", device), "device-today")
    as_alice.post(url("pace", device), PACE)
    device.refresh_from_db()
    assert (device.warm_cap, device.warm_day, device.warm_replies) == (None, None, 0)


def test_the_budget_of_the_day_is_the_stricter_of_cap_and_warm_up(as_alice: Client, workspace: Workspace) -> None:
    device = online(workspace, daily_cap=200, warm_cap=50)
    assert "of 50" in region(as_alice, url("device", device), "device-today")
    assert "warming up" in region(as_alice, reverse("devices:index"))
    Device.objects.update(warm_cap=300)
    assert "of 200" in region(as_alice, url("device", device), "device-today")


def test_a_viewer_reads_hours_and_warm_up(as_bob: Client, workspace: Workspace) -> None:
    device = online(workspace, sending_from=time(9), sending_to=time(17, 30), warm_cap=120)
    page = as_bob.get(url("device", device)).content.decode()
    assert "09:00 to 17:30" in page
    assert "120 a day, step 3 of 4" in page


def test_removing_leads_to_the_list_or_explains(as_alice: Client, workspace: Workspace) -> None:
    linked, new = online(workspace), make_device(workspace, linked=False, name="New one")
    assert "Unlink the device first" in as_alice.post(url("remove", linked), follow=True).content.decode()
    assert "was removed" in as_alice.post(url("remove", new), follow=True).content.decode()
    assert list(Device.objects.all()) == [linked]


# ---- what open pages are told


def test_a_change_reaches_the_list_and_the_page_of_its_workspace_only(
    as_alice: Client, workspace: Workspace, hear: Any, charlie: User
) -> None:
    device = online(workspace, name="Sales")
    with hear((workspace, "devices"), (charlie.owned_workspace, "devices")) as (rows, elsewhere):
        as_alice.post(url("pace", device), {"min_delay": "3", "max_delay": "4"})
    assert len(rows) == 1
    assert rows[0].count(f'id="device-{device.pk}"') == 1
    assert 'hx-swap-oob="true"' in rows[0]
    assert "csrf" not in rows[0].lower()
    assert elsewhere == []
    with hear((workspace, f"device.{device.uuid}")) as (regions,):
        as_alice.post(url("reconnect", device))
    assert 'id="device-header"' in regions[0]
    assert "Reconnect was asked" in regions[0]


def test_a_removed_device_disappears_from_open_lists(as_alice: Client, workspace: Workspace, hear: Any) -> None:
    device = make_device(workspace, linked=False)
    with hear((workspace, "devices")) as (rows,):
        as_alice.post(url("remove", device))
    assert [row.strip() for row in rows] == [f'<tr id="device-{device.pk}" hx-swap-oob="delete"></tr>']


def test_what_nobody_looks_at_is_not_even_rendered(workspace: Workspace, hear: Any) -> None:
    device = online(workspace)
    rendered: list[str] = []

    def note(sender: Any, template: Any, **kwargs: Any) -> None:
        rendered.append(template.name)

    template_rendered.connect(note)
    try:
        with hear((workspace, "devices")):
            push_devices([device.pk])
    finally:
        template_rendered.disconnect(note)
    assert "devices/_device.html" in rendered
    assert "devices/_header.html" not in rendered
