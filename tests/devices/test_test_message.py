"""The test message on a device's page: its form, and what became of it."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions.direct import send_test
from campaigns.models import Message, Stream
from devices.models import Device
from tests.factories import make_device, make_host

LINES = {"HX-Request": "true", "HX-Target": "test-messages"}


@pytest.fixture
def device(workspace: Workspace) -> Device:
    return make_device(workspace, owner=make_host())


def card(device: Device) -> str:
    return reverse("campaigns:device_test", args=[device.uuid])


def send(client: Client, device: Device, **fields: str) -> Any:
    data = {"phone": "012-345 6789", "text": "Hello me", **fields}
    return client.post(reverse("campaigns:send_device_test", args=[device.uuid]), data)


def test_a_manager_sends_a_test_to_a_number_as_people_write_it(as_alice: Client, device: Device) -> None:
    answer = send(as_alice, device)
    message = Message.objects.select_related("content", "stream").get()
    assert (message.phone, message.content.text, message.state) == ("+60123456789", "Hello me", "pending")
    assert message.stream.device == device
    page = answer.content.decode()
    assert "to +60123456789" in page
    assert "Hello me" in page
    assert 'hx-trigger="every 1s"' in page


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"phone": "12"}, "too short for a phone number"),
        ({"phone": ""}, "This field is required"),
        ({"text": ""}, "This field is required"),
        ({"text": "Hi {{ name"}, "Line 1"),
        ({"text": "{% include 'x' %}"}, "Line 1"),
    ],
)
def test_what_is_wrong_stands_beside_the_field_and_nothing_is_queued(
    as_alice: Client, device: Device, fields: dict[str, str], problem: str
) -> None:
    answer = send(as_alice, device, **fields)
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert not Message.objects.exists()


def test_a_viewer_sees_what_became_of_tests_but_sends_none(as_bob: Client, device: Device) -> None:
    send_test(device, "+60123456789", "Seen by Bob", by=None)
    page = as_bob.get(card(device)).content.decode()
    assert "Seen by Bob" in page
    assert "<form" not in page
    assert send(as_bob, device).status_code == 403
    assert Message.objects.count() == 1


def test_a_stranger_gets_404(as_charlie: Client, device: Device) -> None:
    assert as_charlie.get(card(device)).status_code == 404
    assert send(as_charlie, device).status_code == 404
    assert not Message.objects.exists()


def test_a_message_says_what_it_waits_for(as_alice: Client, device: Device) -> None:
    send(as_alice, device)

    def lines() -> str:
        return as_alice.get(card(device), headers=LINES).content.decode()

    assert "Next in line." in lines()
    Device.objects.update(next_send_at=timezone.now() + timedelta(seconds=21))
    assert "pace lets the next message go in 2" in lines()
    now = timezone.now()
    Device.objects.update(
        next_send_at=now, daily_cap=1, day_start=now, day_used=1, sending_from=time(1), sending_to=time(1, 1)
    )
    assert "Today&#x27;s messages are used up. It goes out in" in lines()
    Device.objects.update(day_used=0)
    assert "Next in line." in lines()  # a test message leaves outside the sending hours, too
    Device.objects.update(state="offline")
    assert "The device is not online (offline). It goes out when it is." in lines()
    Device.objects.update(state="online", owner=None)
    assert "The device is not online (no engine)." in lines()


@pytest.mark.parametrize(
    ("fields", "words", "looks_again"),
    [
        ({"state": "sending"}, ["Sending"], True),
        ({"state": "sent"}, ["Sent", "WhatsApp has it"], True),
        ({"state": "delivered"}, ["Delivered"], False),
        ({"state": "dead", "reason": "server returned error 463"}, ["Failed", "server returned error 463"], False),
        ({"state": "skipped", "reason": "opted_out"}, ["Skipped", "This person has opted out."], False),
    ],
)
def test_the_lines_follow_the_message_until_its_end(
    as_alice: Client, device: Device, fields: dict[str, str], words: list[str], looks_again: bool
) -> None:
    send(as_alice, device)
    Message.objects.update(**fields)
    page = as_alice.get(card(device), headers=LINES).content.decode()
    for word in words:
        assert word in page
    assert ("hx-trigger" in page) is looks_again


def test_looking_again_slows_down_and_ends(as_alice: Client, device: Device) -> None:
    send(as_alice, device)
    Message.objects.update(due_at=timezone.now() - timedelta(minutes=2))
    assert 'hx-trigger="every 10s"' in as_alice.get(card(device), headers=LINES).content.decode()
    Message.objects.update(due_at=timezone.now() - timedelta(hours=1))
    assert "hx-trigger" not in as_alice.get(card(device), headers=LINES).content.decode()


def test_the_audit_names_the_deed_but_neither_text_nor_number(as_alice: Client, device: Device) -> None:
    send(as_alice, device)
    entry = AuditEntry.objects.get(action="device.test_message")
    assert "Hello" not in str(entry.detail)
    assert "123456789" not in str(entry.detail)
    assert Stream.objects.get().pending == 1
