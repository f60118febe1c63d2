"""Worker Status: what the grid, the table and the drawer show, to whom, and whatever the address says."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, User, Workspace
from campaigns.models import Message
from devices.models import Device, DeviceEvent
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_device, make_host, make_workspace
from tests.monitoring.worker_cases import every_state, give_work, plain, sent_in_last_minute, sent_this_hour

pytestmark = pytest.mark.django_db
PATH = "/dashboard/workers"
FLEET = "/operations/workers"
SignIn = Callable[[User], Client]


def cells(client: Client, address: str = PATH) -> dict[str, tuple[str, str]]:
    """title → (state, heat) of each cell."""
    html = client.get(address).content.decode()
    found = re.findall(r'<a class="worker"[^>]*data-state="(\w+)" data-heat="(\d)" title="([^"]*)"', html)
    return {title: (state, heat) for state, heat, title in found}


def names(client: Client, query: str) -> list[str]:
    html = client.get(f"{PATH}?view=table&{query}").content.decode()
    return re.findall(r'class="worker-link"[^>]*>([^<]*)<', html)


def test_each_device_is_a_cell_with_its_state_in_words_and_its_heat(as_bob: Client, workspace: Workspace) -> None:
    devices = every_state(workspace)
    sent_in_last_minute(devices["online"], 12)
    found = cells(as_bob)
    assert found["Shop online: Online, 12 sent"] == ("online", "3")
    assert found["Shop held: Held"] == ("held", "0")
    assert {state for state, _ in found.values()} == set(devices)


def test_another_workspace_s_devices_stand_in_none_of_its_views(
    as_alice: Client, workspace: Workspace, charlie: User
) -> None:
    make_device(workspace, owner=make_host(), name="Mine")
    theirs = make_device(charlie.owned_workspace, owner=make_host(id="their-host"), name="Theirs")
    for query in ("", "?view=table", "?frame=1", "?view=table&q=Theirs", "?host=their-host"):
        answer = as_alice.get(PATH + query).content.decode()
        assert "Theirs" not in answer.replace("q=Theirs", "").replace('value="Theirs"', "")
        assert f'data-id="{theirs.pk}"' not in answer
    assert "their-host" not in as_alice.get(PATH).content.decode()
    assert as_alice.get(f"{PATH}/{theirs.uuid}/").status_code == 404


def test_the_whole_as_one_frame_says_every_state_and_what_was_sent(as_bob: Client, workspace: Workspace) -> None:
    devices = every_state(workspace)
    sent_in_last_minute(devices["online"], 7)
    frame = as_bob.get(f"{PATH}?frame=1").json()
    assert frame["total"] == len(devices)
    assert frame["state"] == {state: [device.pk] for state, device in devices.items()}
    assert frame["sent"]["7"] == [devices["online"].pk]
    assert len(frame["sent"]["0"]) == len(devices) - 1


def test_counts_by_state_lead_to_those_devices(as_bob: Client, workspace: Workspace) -> None:
    every_state(workspace)
    page = as_bob.get(PATH).content.decode()
    assert 'href="?state=banned"' in page
    assert list(cells(as_bob, f"{PATH}?state=banned")) == ["Shop banned: Banned"]


def test_the_table_tells_queue_meters_and_what_is_on_its_way(as_bob: Client, workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=5, devices=1, name="Spring sale")
    device = Device.objects.get(workspace=workspace)
    message = Message.objects.filter(campaign=campaign).earliest("pk")
    Device.objects.filter(pk=device.pk).update(
        owner=make_host(), open_message=message.pk, open_tag=bytes(32), open_at=timezone.now()
    )
    sent_in_last_minute(device, 8, failed=1)
    sent_this_hour(device, 40, time_ms=40 * 120)
    page = as_bob.get(f"{PATH}?view=table")
    told = plain(page.content)
    for words in ("Spring sale 5 campaign", "8 1 failed", "120 ms p95"):
        assert words in told, told
    assert f'href="/recipients/{message.pk}/"' in page.content.decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=b", ["b"]),
        ("state=offline", ["c"]),
        ("host=north", ["a", "b"]),
        ("host=none", ["d"]),
        ("sort=-name", ["d", "c", "b", "a"]),
        ("sort=-queue", ["b", "a", "c", "d"]),
        ("sort=-minute", ["c", "a", "b", "d"]),
        ("sort=-hour", ["d", "a", "b", "c"]),
        ("sort=-time", ["d", "a", "b", "c"]),
        ("sort=-day", ["a", "b", "c", "d"]),
        ("sort=state", ["d", "c", "a", "b"]),
        ("sort=bogus&page=-3", ["a", "b", "c", "d"]),
        ("sort=-last", ["b", "a", "c", "d"]),
    ],
)
def test_the_table_is_filtered_and_sorted_by_its_address(
    as_bob: Client, workspace: Workspace, query: str, expected: list[str]
) -> None:
    north, south = make_host(id="north"), make_host(id="south")
    a = make_device(workspace, name="a", owner=north)
    b = make_device(workspace, name="b", owner=north, last_sent_at=timezone.now())
    c = make_device(workspace, name="c", owner=south, state="offline")
    d = make_device(workspace, name="d", owner=None)
    give_work(b, pending=9)
    sent_in_last_minute(c, 5)
    sent_this_hour(d, 6, time_ms=600)
    assert a.pk
    assert names(as_bob, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "q=%00%27%22--",
        "state=%27%3B",
        "host=..%2F..%2Fetc&sort=%27",
        "view=table&page=999999999999999999999&sort=-",
        "view=table&sort=-%00",
        "workspace=not-a-uuid&q=%25_%25",
        "view=[]&frame",
    ],
)
def test_an_address_somebody_made_up_breaks_nothing(
    as_bob: Client, sam: User, workspace: Workspace, sign_in: SignIn, query: str
) -> None:
    make_device(workspace, owner=make_host())
    assert as_bob.get(f"{PATH}?{query}").status_code == 200
    assert sign_in(sam).get(f"{FLEET}?{query}").status_code == 200


def test_names_are_shown_as_they_were_written(as_bob: Client, workspace: Workspace) -> None:
    make_device(workspace, owner=make_host(), name='"><script>alert(1)</script>: Online, 3 sent')
    for query in ("", "?view=table"):
        assert "<script>alert" not in as_bob.get(PATH + query).content.decode()


def test_the_drawer_tells_all_of_one_worker(as_bob: Client, workspace: Workspace) -> None:
    device = every_state(workspace)["held"]
    campaign = give_work(device, pending=3, dead=2, name="Spring sale")
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="offline", detail="connection cut")
    sent_this_hour(device, 10, time_ms=3_000)
    answer = as_bob.get(f"{PATH}/{device.uuid}/", headers={"HX-Request": "true"})
    assert "<html" not in answer.content.decode()
    told = plain(answer.content)
    for words in (
        "refused to let it write to new people",
        "3 in the campaign lane",
        "10 to 30 s between messages",
        "300 ms on average, 95 of 100 within",
        "Last trouble Offline",
        "The connection was cut.",
        "Spring sale running, 3 waiting, 2 failed",
        "Open the device",
    ):
        assert words in told, told
    assert f"/campaigns/{campaign.uuid}/recipients/?figure=failed&amp;device={device.uuid}" in answer.content.decode()
    assert "Reconnect" not in told, "who only looks on is offered nothing to do"


def test_without_htmx_the_drawer_is_a_page(as_bob: Client, workspace: Workspace) -> None:
    device = make_device(workspace, owner=make_host(), name="Shop 1")
    assert "<html" in as_bob.get(f"{PATH}/{device.uuid}/").content.decode()


def test_of_hosts_a_workspace_sees_name_state_and_its_own_devices(
    as_bob: Client, workspace: Workspace, charlie: User
) -> None:
    host = make_host(id="north", hostname="secret-machine", pid=4711, meters={"rss_mb": 123.4})
    make_device(workspace, owner=host, name="Shop")
    make_device(charlie.owned_workspace, owner=host)
    told = plain(as_bob.get(PATH).content)
    assert "north Running 1 —" in told
    assert "secret-machine" not in told
    assert "123" not in told


def test_a_host_whose_limit_held_sending_back_says_so_to_everybody_it_concerns(
    as_bob: Client, workspace: Workspace, charlie: User, sam: User, sign_in: SignIn
) -> None:
    busy = make_host(id="north", meters={"limit": 500, "max_limit": 500, "held_back_s": 12.5})
    calm = make_host(id="south", meters={"limit": 64, "max_limit": 500, "held_back_s": 0})
    make_device(workspace, owner=busy)
    make_device(charlie.owned_workspace, owner=busy)
    make_device(charlie.owned_workspace, owner=calm)
    told = plain(as_bob.get(PATH).content)
    assert "north Running Sending was held back by the limit for 12 s since it started. 1 500" in told
    assert "south" not in told.partition("Hosts that serve")[2]
    everything = plain(sign_in(sam).get(FLEET).content)
    assert "north Running Sending was held back by the limit for 12 s since it started. 2 500" in everything
    assert "south Running 1 64" in everything


def test_staff_see_everybody_s_and_that_is_noted(
    sam: User, workspace: Workspace, charlie: User, sign_in: SignIn
) -> None:
    host = make_host()
    make_device(workspace, owner=host, name="One")
    device = make_device(charlie.owned_workspace, owner=host, name="Two")
    client = sign_in(sam)
    assert set(cells(client, FLEET)) == {"One (Alice&#x27;s shop): Online", "Two (Charlie&#x27;s shop): Online"}
    assert AuditEntry.objects.get(action="staff.workers").actor == sam
    mine = f"{FLEET}?view=table&workspace={charlie.owned_workspace.uuid}"
    assert "Charlie" in plain(client.get(mine).content)
    assert ">One<" not in client.get(mine).content.decode()
    assert "Two" in plain(client.get(f"{FLEET}/{device.uuid}/").content)
    assert client.get(f"{FLEET}?frame=1").json()["total"] == 2


def test_the_fleet_is_for_staff_alone(as_alice: Client, workspace: Workspace) -> None:
    device = make_device(workspace)
    assert as_alice.get(FLEET).status_code == 403
    assert as_alice.get(f"{FLEET}?frame=1").status_code == 403
    assert as_alice.get(f"{FLEET}/{device.uuid}/").status_code == 404
    assert as_alice.get(f"{FLEET}/{uuid.uuid4()}/").status_code == 404
    assert as_alice.post(f"{FLEET}/health-check/").status_code == 403


def test_more_devices_cost_no_more_queries(as_bob: Client, workspace: Workspace) -> None:
    host = make_host()

    def asked(query: str) -> int:
        with CaptureQueriesContext(connection) as found:
            as_bob.get(PATH + query)
        return len(found)

    make_device(workspace, owner=host)
    asked("")  # the line on every page is looked up now and then
    few = [asked(query) for query in ("", "?view=table", "?view=table&sort=-day", "?frame=1")]
    for _ in range(6):
        give_work(make_device(workspace, owner=host), pending=2)
    assert [asked(query) for query in ("", "?view=table", "?view=table&sort=-day", "?frame=1")] == few


def test_a_workspace_without_devices_names_the_next_step(as_bob: Client, workspace: Workspace) -> None:
    assert make_workspace()
    assert "No device yet" in plain(as_bob.get(PATH).content)
