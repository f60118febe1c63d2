"""Pairing: terms first, then a code that lives on the page alone, and every end in a sentence."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.live import push
from accounts.models import User, Workspace
from devices import actions
from devices.gateway import contract
from devices.live import pairing_topic, push_code, push_devices
from devices.models import Device, DeviceState, Request
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_device, make_host

PAYLOAD = "https://wa.me/settings/linked_devices#2@not-a-real-code,for-tests,only"
HTMX = {"HX-Request": "true", "HX-Target": "pairing"}


def url(device: Device, name: str = "pair") -> str:
    return reverse(f"devices:{name}", args=[device.uuid])


def topic(device: Device) -> tuple[Workspace, str]:
    return device.workspace, f"pairing.{device.uuid}"


def region(client: Client, device: Device) -> str:
    return client.get(url(device), headers=HTMX).content.decode()


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace, linked=False, owner=make_host(), epoch=1)


@pytest.fixture
def pairing(device: Device) -> Device:
    device.state, device.request = DeviceState.PAIRING, Request.PAIR
    device.save()
    return device


# ---- before


def test_the_page_says_first_what_linking_means_and_asks_for_nothing_yet(as_alice: Client, device: Device) -> None:
    page = as_alice.get(url(device)).content.decode()
    assert "terms</strong>" in page
    assert "outside WhatsApp" in page
    assert "people who agreed" in page
    assert "Scan the code" not in page
    device.refresh_from_db()
    assert device.request == Request.NOTHING


def test_the_box_that_was_ticked_stays_ticked_when_the_socket_opens(as_alice: Client, device: Device) -> None:
    assert "wsOpen" not in region(as_alice, device)
    Device.objects.filter(pk=device.pk).update(request=Request.PAIR)
    assert "wsOpen" in region(as_alice, device)


def test_pairing_begins_only_once_that_is_acknowledged(as_alice: Client, device: Device) -> None:
    refused = as_alice.post(url(device), headers=HTMX)
    assert refused.status_code == 422
    assert "Tick this to go on." in refused.content.decode()
    begun = as_alice.post(url(device), {"agreed": "on"}, headers=HTMX)
    assert "Scan the code" in begun.content.decode()
    assert "Asking WhatsApp for a code" in begun.content.decode()
    device.refresh_from_db()
    assert device.request == Request.PAIR


def test_without_an_engine_the_page_says_that_pairing_begins_when_one_runs(
    as_alice: Client, workspace: Workspace
) -> None:
    device = make_device(workspace, linked=False)
    page = as_alice.post(url(device), {"agreed": "on"}, headers=HTMX).content.decode()
    assert "No engine is running. Pairing begins by itself when one is." in page
    assert 'every 5s"' in page


def test_a_code_is_typed_only_for_a_number_and_the_number_is_kept_as_e164(as_alice: Client, device: Device) -> None:
    asked = {"agreed": "on", "way": "code"}
    for phone, problem in [("", "Type the number"), ("12", "too short"), ("call me", "is not a phone number")]:
        refused = as_alice.post(url(device), {**asked, "phone": phone}, headers=HTMX)
        assert refused.status_code == 422
        assert problem in refused.content.decode()
        assert 'value="code" checked' in refused.content.decode()
    begun = as_alice.post(url(device), {**asked, "phone": "012-345 6789"}, headers=HTMX).content.decode()
    assert "Link with phone number instead" in begun
    assert "+60123456789" in begun
    device.refresh_from_db()
    assert (device.request, device.pair_by_code, device.pair_phone) == (Request.PAIR, True, "+60123456789")


def test_a_scan_may_be_kept_to_one_number_too(as_alice: Client, device: Device) -> None:
    begun = as_alice.post(url(device), {"agreed": "on", "way": "qr", "phone": "+60123456789"}, headers=HTMX)
    assert "Only +60123456789 may be linked." in begun.content.decode()
    device.refresh_from_db()
    assert (device.pair_by_code, device.pair_phone) == (False, "+60123456789")


def test_the_next_try_begins_as_the_last_one(as_alice: Client, device: Device, hear: Any) -> None:
    last = {"pair_phone": "+60123456789", "pair_by_code": True, "state_reason": "expired"}
    Device.objects.filter(pk=device.pk).update(**last)
    with hear(topic(device)) as (page,):
        push_devices([device.pk])
    for shown in (region(as_alice, device), next(update for update in page if 'id="pairing"' in update)):
        assert 'value="code" checked' in shown
        assert 'value="+60123456789"' in shown


def test_the_twenty_first_pairing_of_an_hour_has_to_wait(
    as_alice: Client, device: Device, charlie: User, time_machine: Any
) -> None:
    now = timezone.now()
    time_machine.move_to(now - timedelta(minutes=50), tick=False)
    for _ in range(19):
        actions.pair_device(device, device.workspace.owner)
        Device.objects.update(request=Request.NOTHING)
    time_machine.move_to(now, tick=False)
    assert "Scan the code" in as_alice.post(url(device), {"agreed": "on"}, headers=HTMX).content.decode()
    Device.objects.update(request=Request.NOTHING)
    refused = as_alice.post(url(device), {"agreed": "on"}, headers=HTMX)
    assert (refused.status_code, refused["Retry-After"]) == (429, "600")
    assert "20 pairings were begun here within the hour. Try again in 10 minutes." in refused.content.decode()
    device.refresh_from_db()
    assert device.request == Request.NOTHING
    actions.pair_device(make_device(charlie.owned_workspace, linked=False), charlie)  # another workspace, another count
    time_machine.move_to(now + timedelta(minutes=11), tick=False)
    assert as_alice.post(url(device), {"agreed": "on"}, headers=HTMX).status_code == 200


# ---- the code


def test_fetching_the_region_asks_the_host_to_show_the_code_again(
    as_alice: Client, pairing: Device, django_capture_on_commit_callbacks: Any
) -> None:
    from devices.jobs import host_queue

    queue = host_queue("control", str(pairing.owner_id))
    queue.empty()
    with django_capture_on_commit_callbacks(execute=True):
        page = region(as_alice, pairing)
    assert "Asking WhatsApp for a code" in page
    assert [(job.func_name, job.args) for job in queue.jobs] == [("devices.jobs.look", [[pairing.pk]])]
    queue.empty()


def test_a_code_reaches_the_pages_that_pair_and_no_others(pairing: Device, charlie: User, hear: Any) -> None:
    workspace = pairing.workspace
    others = [
        (workspace, "devices"),
        (workspace, f"device.{pairing.uuid}"),
        (charlie.owned_workspace, f"pairing.{pairing.uuid}"),
    ]
    with hear(topic(pairing), *others) as (page, *elsewhere):
        push_code(pairing.pk, PAYLOAD, 59.6)
    (shown,) = page
    assert 'id="pairing"' in shown
    assert 'data-expires="59.6"' in shown
    assert elsewhere == [[], [], []]


def test_a_code_is_drawn_dark_on_white_with_a_quiet_zone_and_nothing_inline(pairing: Device, hear: Any) -> None:
    with hear(topic(pairing)) as (page,):
        push_code(pairing.pk, PAYLOAD, 20)
    drawn = page[0][page[0].index("<svg") : page[0].index("</svg>")]
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', drawn)[1])  # type: ignore[index]
    assert f'fill="#fff" d="M0 0h{size}v{size}h-{size}z"' in drawn
    assert re.search(r'stroke="#000"[^>]* d="M4 4\.5h7', drawn)  # the first finder pattern stands 4 modules in
    assert "style=" not in page[0]
    assert "<script" not in page[0]


def test_the_code_of_a_simulated_device_can_be_played_a_real_one_is_only_drawn(pairing: Device, hear: Any) -> None:
    with hear(topic(pairing)) as (page,):
        push_code(pairing.pk, PAYLOAD, 20)
        Device.objects.filter(pk=pairing.pk).update(driver="whatsapp")
        push_code(pairing.pk, PAYLOAD, 20)
    simulated, real = page
    assert "Play the phone" in simulated
    assert f'name="payload" value="{PAYLOAD}"' in simulated
    assert "Play the phone" not in real
    assert PAYLOAD not in real


def test_the_code_is_stored_nowhere_and_logged_nowhere(
    as_alice: Client, pairing: Device, hear: Any, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.SIMULATOR_CONTROL = "/nonexistent/control"
    caplog.set_level(logging.DEBUG)
    with hear(topic(pairing)) as (page,):
        push_code(pairing.pk, PAYLOAD, 20)
        as_alice.post(url(pairing, "play_phone"), {"payload": PAYLOAD}, headers=HTMX)
    assert PAYLOAD in page[0]
    assert "not-a-real-code" not in caplog.text
    assert "not-a-real-code" not in region(as_alice, pairing)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', ["%not-a-real-code%"])
            assert cursor.fetchone() == (0,), table


def test_news_of_a_pairing_device_leave_the_code_on_the_screen(pairing: Device, hear: Any) -> None:
    with hear(topic(pairing)) as (page,):
        push_devices([pairing.pk])
    assert all('id="pairing"' not in update for update in page)


def test_a_code_to_type_stands_in_two_groups_of_four_and_is_read_out_letter_by_letter(
    pairing: Device, hear: Any
) -> None:
    Device.objects.update(pair_by_code=True, pair_phone="+60123456789")
    pairing.refresh_from_db()
    shown = pushed(pairing, hear, typed_code="FPGV-GYTY")
    assert "<span>FPGV</span>" in shown
    assert "<span>GYTY</span>" in shown
    assert "Code to type: F P G V, G Y T Y" in shown
    assert 'name="payload" value="FPGV-GYTY"' in shown
    assert "every 5s" not in shown
    Device.objects.update(driver="whatsapp")
    pairing.refresh_from_db()
    assert "Play the phone" not in pushed(pairing, hear, typed_code="FPGV-GYTY")


@pytest.mark.parametrize(
    ("place", "words"),
    [(1, "Yours is next."), (2, "1 pairing is ahead of yours."), (4, "3 pairings are ahead of yours.")],
)
def test_whoever_waits_sees_how_many_come_before(pairing: Device, hear: Any, place: int, words: str) -> None:
    shown = pushed(pairing, hear, place=place)
    assert words in shown
    assert "Cancel" in shown


def pushed(device: Device, hear: Any, **context: Any) -> str:
    """The region as the device's engine shows it."""
    with hear(topic(device)) as (page,):
        shown = Device.objects.select_related("workspace").with_shown_state().get(pk=device.pk)
        push(device.workspace, pairing_topic(device), "devices/_pairing.html", device=shown, **context)
    return str(page[0])


# ---- the ends


def test_when_paired_the_region_leads_to_the_device_s_page(as_alice: Client, pairing: Device, hear: Any) -> None:
    Device.objects.filter(pk=pairing.pk).update(phone="+60123456789", state="connecting", request="")
    with hear(topic(pairing)) as (page,):
        push_devices([pairing.pk])
    end = next(update for update in page if 'id="pairing"' in update)
    assert "Connected as +60123456789" in end
    assert f'hx-get="{url(pairing)}" hx-trigger="load' in end
    answer = as_alice.get(url(pairing), headers=HTMX)
    assert answer["HX-Redirect"] == url(pairing, "device")
    assert as_alice.get(url(pairing))["Location"] == url(pairing, "device")


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        ("new", "expired", "If the phone asked for a passkey, this account can&#x27;t be linked here."),
        ("new", "network is away", "WhatsApp can&#x27;t be reached."),
        ("new", "refused", "Too many linked devices is one reason: a phone may have four; remove one there."),
        ("new", "session in use", "Another engine still holds its session."),
        ("new", "outdated", "WhatsApp asks for a newer version of the library."),
        ("new", "another number", "Another number than the one you named was linked; it was unlinked again."),
        ("new", "taken", "This number is already linked to another device here. Unlink it there first."),
        ("new", "cancelled", "The pairing was cancelled."),
        ("new", "interrupted", "The pairing was interrupted: its engine or gateway ended. Start again."),
        ("new", "words nobody foresaw", "Words nobody foresaw."),
        (
            "unlinked",
            "This number is already linked to another device here. Unlink it there first.",
            "This number is already linked to another device here. Unlink it there first.",
        ),
    ],
)
def test_every_end_is_a_sentence_and_offers_another_try(
    as_alice: Client, device: Device, hear: Any, state: str, reason: str, sentence: str
) -> None:
    Device.objects.filter(pk=device.pk).update(state=state, state_reason=reason)
    with hear(topic(device)) as (page,):
        push_devices([device.pk])
    for shown in (region(as_alice, device), next(update for update in page if 'id="pairing"' in update)):
        assert sentence in shown
        assert "Try again" in shown


def test_cancelling_says_so_and_ends_it(as_alice: Client, workspace: Workspace, pairing: Device) -> None:
    assert "Cancelling…" in as_alice.post(url(pairing, "cancel_pairing"), headers=HTMX).content.decode()
    waiting = make_device(workspace, linked=False, request=Request.PAIR)
    assert "was cancelled" in as_alice.post(url(waiting, "cancel_pairing"), headers=HTMX).content.decode()


# ---- the simulator's phone


def test_without_the_simulated_network_the_button_says_so(as_alice: Client, pairing: Device, settings: Any) -> None:
    settings.SIMULATOR_CONTROL = "/nonexistent/control"
    answer = as_alice.post(url(pairing, "play_phone"), {"payload": PAYLOAD}, headers=HTMX)
    assert "The simulated network is not running" in answer.content.decode()


def test_a_real_device_has_no_phone_to_play(as_alice: Client, pairing: Device) -> None:
    Device.objects.filter(pk=pairing.pk).update(driver="whatsapp")
    assert as_alice.post(url(pairing, "play_phone"), {"payload": PAYLOAD}).status_code == 404


@pytest.fixture
def network(settings: Any) -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(first_code_s=30)
    world.start_network()
    settings.SIMULATOR_CONTROL = str(world.folder / "control")
    yield world
    world.close()


def test_the_button_scans_the_code_on_the_screen(as_alice: Client, pairing: Device, network: SimulatedWorld) -> None:
    events = contract.Decoder[Any](contract.Event)

    def heard(kind: type) -> Any:
        while True:
            for event in events.feed(gateway.recv(65536)):
                if isinstance(event, kind):
                    return event

    with socket.socket(socket.AF_UNIX) as gateway:
        gateway.settimeout(5)
        gateway.connect(str(network.folder / "network"))
        gateway.sendall(contract.encode([contract.Pair(pairing.pk, 1, "session")]))
        code = heard(contract.Qr).payload
        answer = as_alice.post(url(pairing, "play_phone"), {"payload": code}, headers=HTMX)
        assert "The phone took the code" in answer.content.decode()
        assert heard(contract.Paired).device == pairing.pk
    answer = as_alice.post(url(pairing, "play_phone"), {"payload": code}, headers=HTMX)
    assert "The phone says: this code is not valid any more" in answer.content.decode()


def test_the_button_types_a_code_on_the_phone_it_is_for(
    as_alice: Client, pairing: Device, network: SimulatedWorld
) -> None:
    Device.objects.filter(pk=pairing.pk).update(pair_phone="+60123456789", pair_by_code=True)
    events = contract.Decoder[Any](contract.Event)
    with socket.socket(socket.AF_UNIX) as gateway:
        gateway.settimeout(5)
        gateway.connect(str(network.folder / "network"))
        gateway.sendall(contract.encode([contract.Pair(pairing.pk, 1, "session", "+60123456789")]))
        heard: list[Any] = []
        while not (codes := [event.code for event in heard if isinstance(event, contract.Code)]):
            heard += events.feed(gateway.recv(65536))
        as_alice.post(url(pairing, "play_phone"), {"payload": codes[0]}, headers=HTMX)
        while not (paired := [event.phone for event in heard if isinstance(event, contract.Paired)]):
            heard += events.feed(gateway.recv(65536))
    assert paired == ["+60123456789"]
