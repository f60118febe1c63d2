"""What is done to many device workers: each deed changes something, says what, and is audited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.utils import timezone
from redis import Redis

from accounts import throttle
from accounts.models import AuditEntry, User, Workspace
from campaigns.models import Campaign, CampaignState, Message, Stream
from devices.models import Device, Host
from monitoring.actions.workers import reconnect_all
from tests.campaigns.campaign_cases import count_again, planned_campaign
from tests.factories import make_campaign, make_device, make_host, make_member
from tests.monitoring.worker_cases import every_state, give_work

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def do(client: Client, deed: str, path: str = "/dashboard/workers/", **posted: Any) -> str:
    """What the page says of it."""
    answer = client.post(f"{path}{deed}/", posted)
    assert answer.status_code == 302, answer.status_code
    return str(list(get_messages(answer.wsgi_request))[-1])


def noted(action: str) -> dict[str, Any]:
    return AuditEntry.objects.get(action=action).detail


def test_reconnect_takes_those_that_are_offline_and_says_of_the_others_why_not(
    as_alice: Client, workspace: Workspace
) -> None:
    devices = every_state(workspace)
    make_device(workspace, owner=devices["online"].owner, state="offline", request="reconnect", name="asked")
    told = do(as_alice, "reconnect")
    asked = set(Device.objects.filter(request="reconnect").values_list("name", flat=True))
    assert asked == {f"Shop {state}" for state in ("connecting", "offline", "no_engine", "replaced", "outdated")} | {
        "asked"
    }
    assert told == (
        "5 devices reconnect, 2 were online already, 3 are not linked, 1 is banned, 1 was asked something already."
    )
    assert noted("workers.reconnect")["devices"]["reconnecting"] == 5


@pytest.mark.django_db(transaction=True)
def test_many_reconnect_by_few_statements_and_one_job_for_each_host(
    alice: User, workspace: Workspace, redis: Redis, django_assert_max_num_queries: Any
) -> None:
    north, south = make_host(id="north"), make_host(id="south")
    for n in range(9):
        make_device(workspace, owner=(north, south)[n % 2], state="offline")
    devices = list(Device.objects.with_shown_state().select_related("workspace"))
    with django_assert_max_num_queries(12):
        assert reconnect_all(workspace, devices, alice) == "9 devices reconnect."
    assert [redis.llen(f"rq:queue:control@{host}") for host in ("north", "south")] == [1, 1]
    for device in devices:
        assert device.events.get().kind == "reconnect asked"
        assert AuditEntry.objects.get(target=f"device:{device.uuid}").action == "device.reconnect_asked"


def test_reconnect_obeys_the_filters_of_the_page_and_returns_to_them(as_alice: Client, workspace: Workspace) -> None:
    host = make_host()
    one, other = (make_device(workspace, owner=host, state="offline", name=name) for name in ("one", "other"))
    answer = as_alice.post("/dashboard/workers/reconnect/", {"q": "one", "view": "table"})
    assert answer.headers["Location"] == "/dashboard/workers?q=one&view=table"
    assert list(Device.objects.filter(request="reconnect")) == [one]
    assert do(as_alice, "reconnect", device=str(other.uuid)) == "1 device reconnects."


def test_filters_that_make_no_sense_any_more_choose_nobody(as_alice: Client, workspace: Workspace) -> None:
    make_device(workspace, owner=make_host(), state="offline")
    for posted in ({"host": "gone"}, {"state": "strange"}, {"q": "x" * 81}):
        assert as_alice.post("/dashboard/workers/reconnect/", posted).status_code == 404
    assert not Device.objects.filter(request="reconnect").exists()


def test_nothing_to_reconnect_is_said(as_alice: Client, workspace: Workspace) -> None:
    assert do(as_alice, "reconnect") == "There is no device to reconnect."
    make_device(workspace, owner=make_host())
    assert do(as_alice, "reconnect") == "No device reconnects, 1 was online already."


def test_resume_failed_brings_back_what_failed_of_these_devices_and_of_no_others(
    as_alice: Client, workspace: Workspace
) -> None:
    campaign = planned_campaign(workspace, people=6, devices=2)
    Message.objects.filter(campaign=campaign).update(state="dead", dead_at=timezone.now() - timedelta(minutes=1))
    count_again(campaign)
    first = Device.objects.filter(workspace=workspace).earliest("pk")
    mine = Stream.objects.get(campaign=campaign, device=first).dead
    told = do(as_alice, "resume-failed", device=str(first.uuid))
    assert told == f"{mine} failed messages of 1 campaign are tried again."
    assert set(Stream.objects.filter(campaign=campaign).order_by("device").values_list("pending", "dead")) == {
        (mine, 0),
        (0, 6 - mine),
    }
    assert noted("workers.resume_failed") == {"devices": 1, "campaigns": 1, "messages": mine}


def test_resume_failed_leaves_finished_campaigns_and_says_so(as_alice: Client, workspace: Workspace) -> None:
    device = make_device(workspace, owner=make_host())
    give_work(device, dead=3, state=CampaignState.CANCELLED)
    assert do(as_alice, "resume-failed") == "Nothing has failed in the open campaigns of these devices."


def test_pause_all_and_resume_all_move_every_campaign_that_a_person_paused(
    as_alice: Client, workspace: Workspace, charlie: User
) -> None:
    device = make_device(workspace, owner=make_host())
    running = [give_work(device, pending=2) for _ in range(2)]
    itself = make_campaign(workspace, state=CampaignState.PAUSED, paused_why="12 % failed.")
    theirs = give_work(make_device(charlie.owned_workspace), pending=1)
    assert do(as_alice, "pause-all") == "2 campaigns paused. What was on its way is still settled."
    states = dict(Campaign.objects.values_list("pk", "state"))
    assert [states[campaign.pk] for campaign in running] == ["paused", "paused"]
    assert states[theirs.pk] == "running"
    assert not Stream.objects.filter(campaign__in=running, running=True).exists()
    assert do(as_alice, "pause-all") == "No campaign is running."
    assert do(as_alice, "resume-all") == "2 campaigns resumed. 1 that paused itself stays so: look at each."
    assert Campaign.objects.get(pk=itself.pk).state == "paused"
    assert AuditEntry.objects.filter(action="workers.pause_all").count() == 2


def test_health_check_asks_the_living_hosts_and_names_who_cannot_be_asked(
    as_alice: Client, workspace: Workspace, redis: Any, django_capture_on_commit_callbacks: Any
) -> None:
    living = make_host(id="north")
    gone = make_host(id="south", lease_until=timezone.now() - timedelta(minutes=1))
    device = make_device(workspace, owner=living)
    make_device(workspace, owner=gone)
    make_device(workspace, owner=None)
    with django_capture_on_commit_callbacks(execute=True):
        told = do(as_alice, "health-check")
    assert told == (
        "1 host with 1 device asked: the answer shows here in a moment. 1 device can't be asked: its host is gone."
        " 1 device has no host."
    )
    assert redis.llen("rq:queue:control@north") == 1
    assert redis.llen("rq:queue:control@south") == 0
    assert device.pk
    assert noted("workers.health_check") == {"hosts": 1, "devices": 3}


def test_one_person_has_hosts_asked_so_often_a_minute(
    as_alice: Client, alice: User, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "CHECKS_A_MINUTE", 2)
    make_device(workspace, owner=make_host())
    told = [do(as_alice, "health-check") for _ in range(3)]
    assert ["asked: the answer shows here" in sentence for sentence in told] == [True, True, False]
    assert told[2].endswith("Ask again in a minute.")
    assert AuditEntry.objects.filter(action="workers.health_check").count() == 2
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_loginthrottle SET window_start = now() - interval '61 seconds'")
    assert "asked: the answer shows here" in do(as_alice, "health-check")


@pytest.mark.parametrize("device", ["not-a-uuid", "00000000-0000-0000-0000-000000000000", ""])
def test_a_device_that_is_not_theirs_is_not_found(as_alice: Client, workspace: Workspace, device: str) -> None:
    for deed in ("reconnect", "resume-failed", "health-check"):
        assert as_alice.post(f"/dashboard/workers/{deed}/", {"device": device}).status_code == 404


def test_a_stranger_s_device_is_not_found_either(as_charlie: Client, workspace: Workspace) -> None:
    device = make_device(workspace, owner=make_host(), state="offline")
    for deed in ("reconnect", "resume-failed", "health-check"):
        answer = as_charlie.post(f"/dashboard/workers/{deed}/", {"device": str(device.uuid)})
        assert answer.status_code == 404
    device.refresh_from_db()
    assert device.request == ""


def test_managers_do_and_viewers_only_look(as_bob: Client, workspace: Workspace, sign_in: SignIn) -> None:
    make_device(workspace, owner=make_host(), state="offline")
    manager = sign_in(make_member(workspace, "manager"))
    for deed in ("reconnect", "resume-failed", "pause-all", "resume-all", "health-check"):
        assert as_bob.post(f"/dashboard/workers/{deed}/").status_code == 403
        assert manager.post(f"/dashboard/workers/{deed}/").status_code == 302
    assert "Pause all" not in as_bob.get("/dashboard/workers").content.decode()
    assert "Pause all" in manager.get("/dashboard/workers").content.decode()


def test_staff_drain_a_host_after_a_question_and_may_take_it_back(
    workspace: Workspace, sam: User, sign_in: SignIn
) -> None:
    north, client = make_host(id="north"), sign_in(sam)
    make_host(id="south")
    make_device(workspace, owner=north)
    question = client.get("/operations/drain/?host=north").content.decode()
    assert "<strong>1</strong> device to <strong>1</strong> other host" in question
    assert not Host.objects.get(pk="north").retiring, "asking changes nothing"
    assert do(client, "drain", "/operations/", host="north") == "Host north hands its 1 device to 1 other host."
    assert Host.objects.get(pk="north").retiring
    entry = AuditEntry.objects.get(action="staff.host_drained")
    assert (entry.target, entry.actor, entry.detail) == ("host:north", sam, {"devices": 1})
    assert "Take devices again" in client.get("/operations/").content.decode()
    assert do(client, "keep", "/operations/", host="north") == "Host north takes devices again."
    assert not Host.objects.get(pk="north").retiring


@pytest.mark.parametrize("host", ["", "nowhere", "\0", "x" * 5_000])
def test_a_host_that_does_not_run_is_not_drained(sam: User, sign_in: SignIn, host: str) -> None:
    client = sign_in(sam)
    assert client.get("/operations/drain/", {"host": host}).status_code == 302
    for deed in ("drain", "keep"):
        assert "no running engine" in do(client, deed, "/operations/", host=host)


def test_only_staff_drain(as_alice: Client, workspace: Workspace) -> None:
    make_host(id="north")
    for deed in ("drain", "keep"):
        assert as_alice.post(f"/operations/{deed}/", {"host": "north"}).status_code == 403
    assert not Host.objects.get(pk="north").retiring


def test_operations_shows_each_gateway_process_with_what_it_takes(
    workspace: Workspace, sam: User, sign_in: SignIn
) -> None:
    processes = [
        {
            "driver": "whatsapp", "devices": 12, "state": "running", "pid": 99, "online": 11, "in_flight": 3,
            "rss_mb": 88.8, "fds": 140,
        },
        {"driver": "whatsapp", "devices": 4, "state": "starting"},
    ]  # fmt: skip
    make_host(id="north", meters={"rss_mb": 61.2, "fds": 40, "version": "9.9", "processes": processes})
    page = sign_in(sam).get("/operations/").content.decode()
    for said in ("version 9.9", "61 MB", "whatsapp, process 99", "11 online", "89 MB", "140", "Starting"):
        assert said in page, said


def test_the_fleet_s_health_check_is_staff_s(workspace: Workspace, sam: User, sign_in: SignIn) -> None:
    make_device(workspace, owner=make_host())
    told = do(sign_in(sam), "health-check", "/operations/workers/", state="online")
    assert told.startswith("1 host with 1 device asked")
    assert AuditEntry.objects.get(action="staff.health_check").workspace is None
