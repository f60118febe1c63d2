"""The one-time link that makes the first account."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.actions import create_first_account
from accounts.models import AuditEntry, Membership, Role, User, Workspace
from accounts.setup import first_account_url
from tests.factories import make_user

pytestmark = pytest.mark.django_db
BASE = "http://localhost:8000"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def filled(**fields: str) -> dict[str, str]:
    return {
        "email": "Alice@Example.com",
        "password": "five tins of blue paint",
        "workspace_name": "Alice's Shop",
        "timezone": "Asia/Kuala_Lumpur",
        "default_country": "MY",
        **fields,
    }


def link() -> str:
    url = first_account_url(BASE)
    assert url
    return url.removeprefix(BASE)


def test_the_first_account_administers_the_installation_and_owns_the_first_workspace(client: Client) -> None:
    page = link()
    assert client.get(page).status_code == 200
    answer = client.post(page, filled())
    assert (answer.status_code, answer.headers["Location"]) == (302, "/dashboard")
    user = User.objects.get()
    assert (user.email, user.is_staff, user.is_superuser) == ("alice@example.com", True, True)
    assert user.check_password("five tins of blue paint")
    assert Workspace.objects.get().owner == user
    assert Membership.objects.get(user=user).role == Role.OWNER
    assert client.get("/settings/").status_code == 200, "and is signed in"
    assert AuditEntry.objects.filter(action="installation.first_account").exists()


def test_the_link_works_once(client: Client) -> None:
    page, other = link(), link()
    client.post(page, filled())
    for used in (page, other):
        assert Client().get(used).status_code == 404
        assert Client().post(used, filled(email="eve@example.com")).status_code == 404
    assert User.objects.count() == 1
    assert first_account_url(BASE) is None


@pytest.mark.parametrize("token", ["x", "InNldHVwIg:1vNoAb:forged", ""])
def test_a_made_up_link_is_not_found(client: Client, token: str) -> None:
    assert client.get(f"/setup/{token}/").status_code == 404


def test_a_link_is_good_for_a_day(client: Client, time_machine: Any) -> None:
    page = link()
    time_machine.move_to(timezone.now() + timedelta(days=1, seconds=1))
    assert client.get(page).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": "short"}, "at least 12"),
        ({"email": "taken@example.com"}, "an account with this address already"),
        ({"email": f"{'a' * 243}@example.com"}, "at most 254 characters"),
        ({"timezone": "Mars/Base"}, "Select a valid choice"),
        ({"workspace_name": ""}, "required"),
    ],
)
def test_mistakes_are_named_and_what_was_typed_is_kept(client: Client, wrong: dict[str, str], words: str) -> None:
    make_user("taken@example.com")
    answer = client.post(link(), filled(**wrong))
    assert words in answer.content.decode()
    assert not User.objects.filter(is_superuser=True).exists()
    if "workspace_name" not in wrong:
        assert "Alice&#x27;s Shop" in answer.content.decode()


def test_a_switched_off_superuser_administers_nothing() -> None:
    make_user(is_superuser=True, is_active=False)
    assert first_account_url(BASE)


def test_the_command_prints_the_link_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("first_account_link", base=BASE)
    assert capsys.readouterr().out.startswith(f"{BASE}/setup/")
    make_user(is_superuser=True)
    call_command("first_account_link", base=BASE)
    assert capsys.readouterr().out == ""


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_becomes_the_first() -> None:
    made: list[User | None] = []
    ready = threading.Barrier(2)

    def become_first(email: str) -> None:
        ready.wait()
        made.append(create_first_account(email, "five tins of blue paint", name=email))
        connection.close()

    threads = [threading.Thread(target=become_first, args=(f"{name}@example.com",)) for name in ("alice", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(user is not None for user in made) == [False, True]
    assert User.objects.filter(is_superuser=True).count() == 1
