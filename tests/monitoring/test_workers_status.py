"""`/api/workers/status`: everybody's devices for staff, a member's own for a member, and nothing for strangers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.models import Stream
from devices.models import Device, DeviceState
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_device, make_host, make_workspace

PATH = "/api/workers/status"
SignIn = Callable[[User], Client]
KEYS = {
    "id",
    "name",
    "state",
    "state_since",
    "queue",
    "minute",
    "hour",
    "day",
    "counted_at",
    "mean_ms",
    "p95_ms",
    "held_by",
    "next_send_at",
    "last_sent_at",
    "last_error",
}


def test_a_member_gets_the_devices_of_his_workspace_and_no_machine(as_bob: Client, workspace: Workspace) -> None:
    host = make_host(id="rack-7")
    campaign = planned_campaign(workspace, people=3, devices=1)
    Device.objects.update(owner=host)
    Stream.objects.filter(campaign=campaign).update(running=True)
    make_device(workspace, state=DeviceState.BANNED, state_reason="temporarily banned")
    make_device(make_workspace(), owner=host)
    answer = as_bob.get(PATH)
    found = answer.json()
    assert set(found) == {"at", "workspace", "devices", "next"}
    assert found["workspace"] == str(workspace.uuid)
    sending, banned = found["devices"]
    assert set(sending) == KEYS
    assert (sending["state"], sending["queue"]) == ("online", {"direct": 0, "campaign": 3, "sequence": 0})
    assert sending["day"] == {"sent": 0, "failed": 0, "delivered": 0, "replied": 0}
    assert sending["last_error"] is None
    assert (banned["state"], banned["held_by"]) == ("banned", "offline")
    assert banned["last_error"].startswith("WhatsApp has banned this number for a while.")
    told = answer.content.decode()
    assert "rack-7" not in told
    assert not any(str(phone) in told for phone in Device.objects.values_list("phone", flat=True))


def test_staff_get_everybodys_and_the_hosts_and_their_look_is_audited(
    sam: User, sign_in: SignIn, workspace: Workspace
) -> None:
    late = timezone.now() - timedelta(seconds=25)  # with its heartbeat; its lease goes on
    device = make_device(workspace, owner=make_host(id="rack-7", heartbeat_at=late))
    make_device(make_workspace())
    found = sign_in(sam).get(PATH).json()
    assert found["workspace"] is None
    assert [one["host"] for one in found["devices"]] == ["rack-7", None]
    assert found["devices"][0]["workspace"] == str(workspace.uuid)
    assert set(found["devices"][0]) == KEYS | {"host", "workspace"}
    assert [(host["id"], host["alive"], host["devices"]) for host in found["hosts"]] == [("rack-7", True, 1)]
    assert AuditEntry.objects.filter(action="staff.workers_status").count() == 1
    assert str(device.phone) not in str(found)


def test_programs_that_are_not_signed_in_get_401(db: None) -> None:
    assert Client().get(PATH).status_code == 401


def test_it_goes_on_after_a_page(as_alice: Client, workspace: Workspace) -> None:
    devices = [make_device(workspace) for _ in range(3)]
    first = as_alice.get(f"{PATH}?limit=2").json()
    assert [one["name"] for one in first["devices"]] == [device.name for device in devices[:2]]
    rest = as_alice.get(f"{PATH}?limit=2&after={first['next']}").json()
    assert [one["name"] for one in rest["devices"]] == [devices[2].name]
    assert rest["next"] is None


def test_anothers_device_leads_nowhere(as_charlie: Client, workspace: Workspace, charlie: User) -> None:
    theirs = make_device(workspace)
    answer = as_charlie.get(f"{PATH}?after={theirs.uuid}")
    assert (answer.status_code, answer.json()["devices"]) == (200, [])


@pytest.mark.parametrize("query", ["after=x", "after=1", "limit=x", "limit=0", "limit=1001", "limit=-1", "limit=1e3"])
def test_hostile_queries_are_refused_with_a_sentence(as_alice: Client, query: str) -> None:
    answer = as_alice.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_the_number_of_queries_does_not_grow(
    as_alice: Client, workspace: Workspace, django_assert_max_num_queries: Any
) -> None:
    def ask() -> None:
        with django_assert_max_num_queries(14):
            as_alice.get(PATH)

    make_device(workspace)
    ask()
    for _ in range(6):
        make_device(workspace)
    ask()
