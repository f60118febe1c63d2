"""Wall links: who makes and revokes them, and what they show to whoever has one: no names, no numbers, no text."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

import monitoring.wall
from accounts import throttle
from accounts.models import AuditEntry, User, Workspace
from monitoring.actions import wall as actions
from monitoring.models import WallLink
from monitoring.wall import token_of
from tests.campaigns.campaign_cases import varied_campaign
from tests.campaigns.waiting_for_locks import while_held
from tests.factories import make_campaign, make_device, make_host, make_member, make_wall_link
from tests.monitoring.worker_cases import every_state, sent_in_last_minute, sent_this_hour

pytestmark = pytest.mark.django_db
LINKS = "/dashboard/walls/"


def wall(link: WallLink, **headers: str) -> Any:
    return Client().get(f"/wall/{token_of(link)}/", headers=headers)


def test_worker_status_hangs_there_by_states_and_counts_alone(workspace: Workspace) -> None:
    devices = every_state(workspace)
    sent_in_last_minute(devices["online"], 12)
    answer = wall(make_wall_link(workspace, name="Secret office"))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'data-state="banned"' in page
    assert 'data-state="online" data-heat="3"' in page
    for device in devices.values():
        assert device.name not in page
        assert str(device.phone)[1:] not in page
        assert str(device.uuid) not in page
    for said in ("Secret office", workspace.name, 'href="/d'):
        assert said not in page


def test_one_device_s_report(workspace: Workspace) -> None:
    device = every_state(workspace)["online"]
    sent_this_hour(device, 321, time_ms=321 * 150)
    page = wall(make_wall_link(workspace, kind="device", device=device)).content.decode()
    assert "321" in page
    assert "150 ms" in page
    assert "<svg" in page
    assert device.name not in page
    assert str(device.phone)[1:] not in page


def test_a_running_campaign(workspace: Workspace) -> None:
    campaign = varied_campaign(workspace)
    page = wall(make_wall_link(workspace, kind="campaign", campaign=campaign)).content.decode()
    assert "One campaign" in page
    assert "delivered" in page
    for secret in (campaign.name, campaign.content.text, "Word for word", str(campaign.uuid), "Person"):
        assert secret not in page


def test_a_link_that_opens_nothing_says_the_same_whatever_the_reason(workspace: Workspace) -> None:
    past = timezone.now() - timedelta(seconds=1)
    expired = wall(make_wall_link(workspace, expires_at=past))
    revoked = wall(make_wall_link(workspace, revoked_at=past))
    good = token_of(make_wall_link(workspace))
    wrong = [Client().get(f"/wall/{token}/") for token in ("nonsense", good[:-1], f"{good}x", "." * 200, "%00")]
    answers = [expired, revoked, *wrong]
    assert {answer.status_code for answer in answers} == {404}
    assert len({re.sub(r"csrf[^>]*|X-CSRFToken[^}]*", "", answer.content.decode()) for answer in answers}) == 1


def test_a_screen_that_was_open_stops_showing_what_it_showed(workspace: Workspace) -> None:
    link = make_wall_link(workspace)
    fragment = wall(link, **{"HX-Request": "true"})
    assert "<html" not in fragment.content.decode()
    assert 'hx-trigger="every 10s"' in fragment.content.decode()
    WallLink.objects.update(revoked_at=timezone.now())
    after = wall(link, **{"HX-Request": "true"})
    assert (after.status_code, after.headers["HX-Refresh"]) == (404, "true")


def test_no_cache_and_no_search_engine_keeps_it(workspace: Workspace) -> None:
    for answer in (wall(make_wall_link(workspace)), Client().get("/wall/nonsense/")):
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert Client().post(f"/wall/{token_of(make_wall_link(workspace))}/").status_code == 405


def test_looks_are_counted_by_source(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "LOOKS_PER_SOURCE", 2)
    link = make_wall_link(workspace)
    answers = [wall(link) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "900"


def test_rubbish_costs_no_look_and_no_query(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(throttle, "LOOKS_PER_SOURCE", 1)
    link = make_wall_link(workspace)
    with django_assert_num_queries(0):
        assert Client().get(f"/wall/{token_of(link)}x/").status_code == 404
    assert wall(link).status_code == 200


def test_screens_of_one_workspace_share_what_was_looked_up(
    workspace: Workspace, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_state(workspace)
    looked: list[Workspace] = []
    look_up = monitoring.wall.workers_view

    def noted(of: Workspace) -> dict[str, Any]:
        looked.append(of)
        return look_up(of)

    monkeypatch.setattr(monitoring.wall, "workers_view", noted)
    one, other, theirs = (make_wall_link(of) for of in (workspace, workspace, charlie.owned_workspace))
    pages = [wall(link).content.decode() for link in (one, one, other, theirs)]
    assert looked == [workspace, charlie.owned_workspace]
    assert all('data-state="banned"' in page for page in pages[:3])
    assert 'data-state="banned"' not in pages[3]
    WallLink.objects.filter(pk=one.pk).update(revoked_at=timezone.now())
    assert wall(one).status_code == 404


def test_what_opens_stands_first_and_what_is_left_out_is_counted(
    as_alice: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.views.wall.ENDED_SHOWN", 1)
    make_wall_link(workspace, name="Opens")
    for number in range(3):
        make_wall_link(workspace, name=f"Ended {number}", revoked_at=timezone.now())
    page = as_alice.get(LINKS).content.decode()
    assert page.index("Opens</strong>") < page.index("Ended 2</strong>")
    assert "Ended 1" not in page
    assert "2 older links that open nothing any more are not listed." in page


def test_a_manager_makes_and_revokes_links(as_alice: Client, alice: User, workspace: Workspace) -> None:
    device = make_device(workspace, owner=make_host(), name="Shop 1")
    answer = as_alice.post(LINKS, {"name": "Office", "shows": f"device:{device.uuid}", "lasts": "7"})
    assert answer.status_code == 302
    link = WallLink.objects.get()
    assert (link.kind, link.device, link.created_by) == ("device", device, alice)
    assert timedelta(days=6, hours=23) < link.expires_at - timezone.now() <= timedelta(days=7)
    page = as_alice.get(LINKS).content.decode()
    assert f"/wall/{token_of(link)}/" in page
    assert wall(link).status_code == 200
    for _ in range(2):
        assert as_alice.post(f"{LINKS}{link.uuid}/revoke/").status_code == 302
    assert wall(link).status_code == 404
    actions = list(
        AuditEntry.objects.filter(target=f"wall:{link.uuid}").order_by("pk").values_list("action", flat=True)
    )
    assert actions == ["wall.made", "wall.revoked"]
    assert "Revoked" in as_alice.get(LINKS).content.decode()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": "x" * 81},
        {"lasts": "100000"},
        {"shows": "device:nonsense"},
        {"shows": "workers:00000000-0000-0000-0000-000000000000"},
        {"shows": "campaign:"},
        {"name": "\0"},
    ],
)
def test_what_cannot_be_a_link_stands_there_with_its_error(
    as_alice: Client, workspace: Workspace, given: dict[str, str]
) -> None:
    good = {"name": "Office", "shows": "workers", "lasts": "1"} if given else {}
    answer = as_alice.post(LINKS, {**good, **given})
    assert answer.status_code == 422
    assert not WallLink.objects.exists()


def test_only_what_is_the_workspace_s_own_can_be_shown(as_alice: Client, workspace: Workspace, charlie: User) -> None:
    theirs = make_device(charlie.owned_workspace)
    campaign = make_campaign(charlie.owned_workspace, state="running")
    for shows in (f"device:{theirs.uuid}", f"campaign:{campaign.uuid}"):
        assert as_alice.post(LINKS, {"name": "x", "shows": shows, "lasts": "1"}).status_code == 422


def test_links_are_managers_and_their_workspace_s(
    as_bob: Client, as_charlie: Client, workspace: Workspace, sign_in: Any
) -> None:
    link = make_wall_link(workspace, name="Alice's office")
    assert as_bob.get(LINKS).status_code == 403
    assert sign_in(make_member(workspace, "manager")).get(LINKS).status_code == 200
    assert "Alice's office" not in as_charlie.get(LINKS).content.decode()
    assert as_charlie.post(f"{LINKS}{link.uuid}/revoke/").status_code == 404
    assert wall(link).status_code == 200


def test_a_workspace_has_so_many_open_links_and_no_more(
    as_alice: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST_OPEN", 1)
    given = {"name": "Office", "shows": "workers", "lasts": "1"}
    assert as_alice.post(LINKS, given).status_code == 302
    answer = as_alice.post(LINKS, given)
    assert answer.status_code == 422
    assert "too many open links" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_two_who_make_the_last_link_at_once_make_one(
    alice: User, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST_OPEN", 1)
    refused: list[str] = []

    def make(name: str) -> None:
        try:
            actions.make_wall_link(workspace, alice, name, "workers", timedelta(days=1))
        except actions.TooManyLinks:
            refused.append(name)

    while_held(lambda: make("first"), lambda: make("second"))
    assert (refused, WallLink.objects.get().name) == (["second"], "first")
