"""Devices, their history and hosts in the admin: found by what staff know, and what the engine writes is read only."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Workspace
from devices.admin import ENGINE_COLUMNS
from devices.models import Device, DeviceEvent
from tests.factories import make_device, make_host, make_user


@pytest.fixture
def as_staff(db: None) -> Client:
    client = Client()
    client.force_login(make_user("staff@example.com", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def device(workspace: Workspace) -> Device:
    device = make_device(workspace, name="Sales", phone="+60123456789", owner=make_host(id="host-a"))
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="online")
    return device


@pytest.mark.parametrize("words", ["Sales", "+60123456789", "alice@example.com", "Alice's shop"])
def test_staff_find_a_device_by_name_number_workspace_and_owner(as_staff: Client, device: Device, words: str) -> None:
    page = as_staff.get(reverse("admin:devices_device_changelist"), {"q": words}).content.decode()
    assert "+60123456789" in page
    assert "1 device" in page


def test_staff_change_name_and_pace_but_nothing_the_engine_writes(as_staff: Client, device: Device) -> None:
    address = reverse("admin:devices_device_change", args=[device.pk])
    page = as_staff.get(address).content.decode()
    for column in (*ENGINE_COLUMNS, "phone", "workspace", "driver"):
        assert f'name="{column}"' not in page
    form = {"name": "Support", "min_delay": "1", "max_delay": "2", "state": "banned", "epoch": "99"}
    assert as_staff.post(address, form).status_code == 302
    device.refresh_from_db()
    assert (device.name, device.min_delay, device.state, device.epoch) == ("Support", 1, "online", 0)


@pytest.mark.parametrize("model", ["device", "deviceevent", "host"])
def test_the_admin_lists_but_neither_adds_nor_deletes(as_staff: Client, device: Device, model: str) -> None:
    assert as_staff.get(reverse(f"admin:devices_{model}_changelist")).status_code == 200
    assert as_staff.get(reverse(f"admin:devices_{model}_add")).status_code == 403
    row = {"device": device, "deviceevent": device.events.get(), "host": device.owner}[model]
    assert row is not None
    assert as_staff.get(reverse(f"admin:devices_{model}_delete", args=[row.pk])).status_code == 403


def test_the_hosts_list_says_who_lives_and_how_much_they_carry(as_staff: Client, device: Device) -> None:
    page = as_staff.get(reverse("admin:devices_host_changelist")).content.decode()
    assert '<td class="field-devices_owned">1</td>' in page
    assert "icon-yes" in page
