"""The settings of a workspace and of a person."""

from __future__ import annotations

from datetime import time

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AuditEntry, Role, User, Workspace
from tests.factories import make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Workspace:
    return make_workspace(name="Alice's Shop", timezone="UTC", default_country="MY")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"{'a' * 243}@example.com", "at most 254 characters"),
        ("Charlie@Example.com", "Another account has this address."),
    ],
)
def test_an_address_that_could_not_become_the_primary_one_is_not_added(
    alice: Workspace, address: str, words: str
) -> None:
    make_user("charlie@example.com")
    answer = signed_in(alice.owner).post("/accounts/email/", {"email": address, "action_add": ""})
    assert answer.status_code == 200
    assert words in answer.content.decode()


@pytest.mark.parametrize("zone", ["localtime", "Mars/Base", "../../etc/passwd", "UT\0C"])
def test_a_zone_is_one_that_postgresql_knows_too(alice: Workspace, zone: str) -> None:
    alice.timezone = zone
    with pytest.raises(ValidationError, match="is not a time zone"):
        alice.full_clean()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def save(client: Client, **fields: str) -> int:
    data = {"name": "New name", "timezone": "Asia/Tokyo", "default_country": "JP", **fields}
    return client.post("/settings/workspace/", data).status_code


def test_the_owner_changes_the_workspace_and_the_ledger_says_how(alice: Workspace) -> None:
    assert save(signed_in(alice.owner), name="Alice's Shop") == 302
    alice.refresh_from_db()
    assert (alice.name, alice.timezone, alice.default_country) == ("Alice's Shop", "Asia/Tokyo", "JP")
    entry = AuditEntry.objects.get(action="workspace.changed")
    assert entry.detail == {"timezone": ["UTC", "Asia/Tokyo"], "default_country": ["MY", "JP"]}
    assert (entry.actor, entry.workspace, entry.target) == (alice.owner, alice, f"workspace:{alice.uuid}")


def test_saving_the_same_again_is_no_change(alice: Workspace) -> None:
    save(signed_in(alice.owner), name="Alice's Shop", timezone="UTC", default_country="MY")
    assert not AuditEntry.objects.filter(action="workspace.changed").exists()


def test_the_limit_and_the_owner_are_not_on_the_form(alice: Workspace) -> None:
    save(signed_in(alice.owner), device_limit="99", owner=str(make_user().pk))
    before = alice.owner_id
    alice.refresh_from_db()
    assert (alice.device_limit, alice.owner_id) == (15, before)


def test_a_mistake_keeps_what_was_typed_and_the_old_name_in_the_frame(alice: Workspace) -> None:
    answer = signed_in(alice.owner).post(
        "/settings/workspace/", {"name": "Typed name", "timezone": "Mars/Base", "default_country": "JP"}
    )
    assert answer.status_code == 422
    page = answer.content.decode()
    assert 'value="Typed name"' in page
    assert 'title="Workspace">Alice&#x27;s Shop<' in page
    alice.refresh_from_db()
    assert alice.name == "Alice's Shop"


def test_a_zone_from_elsewhere_stays_until_another_is_chosen(alice: Workspace) -> None:
    Workspace.objects.filter(pk=alice.pk).update(timezone="Etc/GMT-8")
    client = signed_in(alice.owner)
    assert '<option value="Etc/GMT-8" selected>' in client.get("/settings/").content.decode()
    assert save(client, timezone="Etc/GMT-8") == 302


@pytest.mark.parametrize("role", [Role.MANAGER, Role.VIEWER])
def test_others_read_the_settings(alice: Workspace, role: Role) -> None:
    client = signed_in(make_member(alice, role))
    page = client.get("/settings/").content.decode()
    assert "Only the owner changes these" in page
    assert "/settings/workspace/" not in page
    assert save(client) == 403


def test_members_see_each_other_and_who_adds_more(alice: Workspace) -> None:
    bob = make_member(alice, Role.VIEWER, email="bob@example.com")
    make_workspace(make_user("charlie@example.com"))
    page = signed_in(bob).get("/settings/members/").content.decode()
    assert "bob@example.com" in page
    assert alice.owner.email in page
    assert "charlie@example.com" not in page
    assert "staff of this installation add and remove members" in page


def test_a_guest_with_a_workspace_of_her_own_starts_there_and_switches(alice: Workspace) -> None:
    own = make_workspace(name="Bob's own")
    alice.memberships.create(user=own.owner, role=Role.MANAGER)
    client = signed_in(own.owner)
    assert client.get("/settings/members/").context["request"].workspace == own
    assert client.post(f"/settings/workspaces/{alice.uuid}/choose/").status_code == 302
    assert client.get("/settings/members/").context["request"].workspace == alice
    alice.memberships.filter(user=own.owner).delete()
    assert client.get("/settings/members/").context["request"].workspace == own, "and falls back when she is removed"


def test_nobody_chooses_a_workspace_of_strangers(alice: Workspace) -> None:
    client = signed_in(make_workspace().owner)
    assert client.post(f"/settings/workspaces/{alice.uuid}/choose/").status_code == 404
    assert "workspace" not in client.session


def test_a_person_changes_her_name_and_nothing_else(alice: Workspace) -> None:
    client = signed_in(alice.owner)
    client.post("/settings/profile/", {"first_name": "Alice", "last_name": "Lim", "email": "x@x.x", "is_staff": "on"})
    user = User.objects.get(pk=alice.owner_id)
    assert (user.first_name, user.last_name, user.is_staff) == ("Alice", "Lim", False)
    assert user.email == alice.owner.email


def test_times_are_shown_in_the_zone_of_the_workspace(alice: Workspace) -> None:
    Workspace.objects.filter(pk=alice.pk).update(timezone="Asia/Tokyo")
    assert "(JST)" in signed_in(alice.owner).get("/settings/members/").content.decode()


HOURS = {"quiet_from": "21:00", "quiet_to": "09:00", "frequency_cap": "2", "frequency_days": "3"}


def test_quiet_hours_and_how_often_are_kept_and_the_ledger_says_so(alice: Workspace) -> None:
    client = signed_in(alice.owner)
    assert save(client, **HOURS) == 302
    alice.refresh_from_db()
    assert (alice.quiet_from, alice.quiet_to) == (time(21), time(9))
    assert (alice.frequency_cap, alice.frequency_days) == (2, 3)
    assert AuditEntry.objects.get(action="workspace.changed").detail["quiet_from"] == [None, "21:00"]
    page = client.get("/settings/").content.decode()
    assert 'value="21:00"' in page
    reader = signed_in(make_member(alice, Role.VIEWER)).get("/settings/").content.decode()
    assert "21:00 to 09:00" in reader
    assert "2 within 3 days" in reader
    assert save(client) == 302
    alice.refresh_from_db()
    assert (alice.quiet_from, alice.frequency_cap, alice.frequency_days) == (None, None, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quiet_to": ""}, "Give both times, or neither."),
        ({"quiet_from": ""}, "Give both times, or neither."),
        ({"quiet_to": "21:00"}, "Choose another end than the beginning"),
        ({"quiet_to": "25:00"}, "Enter a valid time."),
        ({"frequency_cap": "0"}, "greater than or equal to 1"),
        ({"frequency_days": "99999"}, "less than or equal to 365"),
    ],
)
def test_hours_that_make_no_sense_are_refused_and_stay_typed(
    alice: Workspace, change: dict[str, str], words: str
) -> None:
    client = signed_in(alice.owner)
    data = {"name": "New name", "timezone": "Asia/Tokyo", "default_country": "JP", **HOURS, **change}
    answer = client.post("/settings/workspace/", data)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    alice.refresh_from_db()
    assert (alice.quiet_from, alice.frequency_cap) == (None, None)
