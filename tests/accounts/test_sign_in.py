"""Signing up, in and out, and what stands in the way of guessing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.db import connection
from django.test import Client

from accounts import throttle
from accounts.models import AuditEntry, LoginThrottle, Membership, Role, User, Workspace
from tests.factories import make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db
PASSWORD = "five tins of blue paint"
TOO_MANY = "Too many failed login attempts"
WRONG = "not correct"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def sign_in(email: str, password: str = PASSWORD, client: Client | None = None, **extra: Any) -> Any:
    return (client or Client()).post("/accounts/login/", {"login": email, "password": password}, **extra)


def sign_up(client: Client, **fields: str) -> Any:
    data = {
        "email": "alice@example.com",
        "password1": PASSWORD,
        "workspace_name": "Alice's Shop",
        "timezone": "America/New_York",
        "default_country": "US",
        **fields,
    }
    return client.post("/accounts/signup/", data)


def counted(function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        calls.append(function.__name__)
        return function(*args)

    return called


def words(response: Any) -> str:
    return str(response.content.decode())


class TestSigningUp:
    def test_makes_the_user_her_workspace_and_her_membership(self, client: Client) -> None:
        answer = sign_up(client)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/dashboard")
        workspace = Workspace.objects.get()
        assert (workspace.owner.email, workspace.name) == ("alice@example.com", "Alice's Shop")
        assert (workspace.timezone, workspace.default_country) == ("America/New_York", "US")
        assert Membership.objects.get().role == Role.OWNER
        assert client.get("/settings/").status_code == 200
        assert set(AuditEntry.objects.values_list("action", flat=True)) == {"workspace.created", "login"}

    def test_makes_all_or_nothing(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr("accounts.forms.create_workspace", fail)
        with pytest.raises(RuntimeError):
            sign_up(client)
        assert not User.objects.exists()

    def test_ignores_fields_that_are_not_on_the_form(self, client: Client) -> None:
        sign_up(client, is_staff="on", is_superuser="on", device_limit="999", role="owner", owner="1")
        assert not User.objects.get().is_staff
        assert Workspace.objects.get().device_limit == 15

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"password1": "elevenchars"}, "at least 12"),
            ({"password1": "123456789012"}, "entirely numeric"),
            ({"email": "nobody"}, "valid email"),
            ({"email": f"{'a' * 243}@example.com"}, "at most 254 characters"),
            ({"workspace_name": ""}, "required"),
            ({"timezone": "Nowhere"}, "Select a valid choice"),
            ({"default_country": "XX"}, "Select a valid choice"),
        ],
    )
    def test_names_each_mistake(self, client: Client, fields: dict[str, str], complaint: str) -> None:
        answer = sign_up(client, **fields)
        assert answer.status_code == 200
        assert complaint in words(answer)
        assert not User.objects.exists()

    @pytest.mark.parametrize(("mode", "sentence"), [("invite", "by invitation"), ("closed", "Signing up is closed")])
    def test_says_so_when_it_is_not_open(self, client: Client, settings: Any, mode: str, sentence: str) -> None:
        settings.SIGNUP = mode
        assert sentence in words(client.get("/accounts/signup/"))
        assert sentence in words(sign_up(client))
        assert not User.objects.exists()


class TestSigningIn:
    def test_lands_on_the_dashboard_with_a_new_session(self, client: Client) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        client.get("/accounts/login/")
        client.session.save()
        before = client.session.session_key
        answer = sign_in("Alice@Example.com", client=client)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/dashboard")
        assert client.cookies["sessionid"].value != before

    def test_sends_staff_without_a_workspace_to_the_administration(self) -> None:
        make_user("staff@example.com", password=PASSWORD, is_staff=True)
        assert sign_in("staff@example.com").headers["Location"] == "/admin/"

    def test_tells_somebody_without_a_workspace_so(self, client: Client) -> None:
        make_user("new@example.com", password=PASSWORD)
        answer = client.post("/accounts/login/", {"login": "new@example.com", "password": PASSWORD}, follow=True)
        assert "You are in no workspace" in words(answer)

    def test_answers_the_same_for_a_wrong_password_and_an_unknown_account(self) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        token = re.compile(r'csrfmiddlewaretoken" value="[^"]*"|X-CSRFToken": "[^"]*"')
        known, unknown = (words(sign_in(f"{name}@example.com", "wrong")) for name in ("alice", "nobody"))
        assert WRONG in known
        assert token.sub("", known).replace("alice", "nobody") == token.sub("", unknown)

    def test_hashes_as_often_for_an_unknown_account_as_for_a_known_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        work: list[str] = []
        monkeypatch.setattr(MD5PasswordHasher, "encode", counted(MD5PasswordHasher.encode, work))
        sign_in("alice@example.com", "wrong")
        known, work[:] = list(work), []
        sign_in("nobody@example.com", "wrong")
        assert known == work == ["encode"]

    def test_is_noted(self, client: Client) -> None:
        owner = make_user("alice@example.com", password=PASSWORD)
        workspace = make_workspace(owner)
        sign_in("alice@example.com", "wrong", client)
        sign_in("alice@example.com", client=client)
        client.post("/accounts/logout/")
        noted = AuditEntry.objects.order_by("pk").values_list("action", "actor", "workspace")
        assert list(noted) == [
            ("login.failed", None, workspace.pk),
            ("login", owner.pk, workspace.pk),
            ("logout", owner.pk, workspace.pk),
        ]
        assert "wrong" not in str(list(AuditEntry.objects.values_list("detail", flat=True)))

    def test_signing_out_takes_a_post(self, client: Client) -> None:
        client.force_login(make_workspace().owner)
        client.get("/accounts/logout/")
        assert client.get("/settings/").status_code == 200
        client.post("/accounts/logout/")
        assert client.get("/settings/").status_code == 302


class TestTheThrottle:
    def test_refuses_an_account_after_ten_failures_also_with_the_right_password(self) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        for _ in range(throttle.TRIES_PER_ACCOUNT):
            assert WRONG in words(sign_in("alice@example.com", "wrong"))
        assert TOO_MANY in words(sign_in("alice@example.com"))
        assert TOO_MANY in words(sign_in("ALICE@example.com "))

    def test_counts_unknown_accounts_like_known_ones(self) -> None:
        for _ in range(throttle.TRIES_PER_ACCOUNT):
            sign_in("nobody@example.com", "wrong")
        assert TOO_MANY in words(sign_in("nobody@example.com", "wrong"))

    def test_refuses_a_source_that_tries_many_accounts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttle, "TRIES_PER_SOURCE", 5)
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        for number in range(5):
            sign_in(f"{number}@example.com", "wrong")
        assert TOO_MANY in words(sign_in("alice@example.com"))
        assert sign_in("alice@example.com", REMOTE_ADDR="203.0.113.9").status_code == 302

    def test_a_good_sign_in_frees_nothing_but_its_own_try(self) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        for _ in range(throttle.TRIES_PER_ACCOUNT - 1):
            sign_in("alice@example.com", "wrong")
        assert sign_in("alice@example.com").status_code == 302
        sign_in("alice@example.com", "wrong")
        assert TOO_MANY in words(sign_in("alice@example.com"))

    def test_forgets_after_its_window(self) -> None:
        for _ in range(throttle.TRIES_PER_ACCOUNT):
            throttle.take_try("alice@example.com", "203.0.113.9")
        assert not throttle.take_try("alice@example.com", "203.0.113.9")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_loginthrottle SET window_start = now() - interval '16 minutes'")
        assert throttle.take_try("alice@example.com", "203.0.113.9")
        assert throttle.forget_old() == 0

    def test_keeps_neither_addresses_nor_names(self) -> None:
        throttle.take_try("alice@example.com", "203.0.113.9")
        kept = str(list(LoginThrottle.objects.values()))
        assert "alice" not in kept
        assert "203.0" not in kept

    def test_takes_an_ipv6_network_for_one_source(self) -> None:
        assert throttle.source_key("2001:db8:1:2::1") == throttle.source_key("2001:db8:1:2:ffff::9")
        assert throttle.source_key("2001:db8:1:2::1") != throttle.source_key("2001:db8:1:3::1")

    @pytest.mark.django_db(transaction=True)
    def test_holds_when_many_try_at_once(self) -> None:
        taken: list[bool] = []
        ready = threading.Barrier(8)

        def guess() -> None:
            ready.wait()
            for _ in range(4):
                taken.append(throttle.take_try("alice@example.com", "203.0.113.9"))
            connection.close()

        threads = [threading.Thread(target=guess) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(taken) == throttle.TRIES_PER_ACCOUNT


class TestANewPassword:
    @pytest.fixture
    def link(self) -> Callable[[], str]:
        def asked() -> str:
            Client().post("/accounts/password/reset/", {"email": "alice@example.com"})
            found = re.search(r"/accounts/password/reset/key/\S+", str(mail.outbox[-1].body))
            assert found
            return found[0]

        return asked

    def test_is_set_by_a_link_that_works_once(self, client: Client, link: Callable[[], str]) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        url = link()
        page = client.get(url, follow=True)
        form = page.redirect_chain[-1][0]
        new = "six tins of green paint"
        assert client.post(form, {"password1": new, "password2": new}).status_code == 302
        assert sign_in("alice@example.com", new).status_code == 302
        assert "no longer good" in words(Client().get(url, follow=True))
        assert AuditEntry.objects.filter(action="password.changed").exists()

    def test_ends_the_sessions_that_know_the_old_one(self, client: Client, link: Callable[[], str]) -> None:
        user = make_user("alice@example.com", password=PASSWORD)
        make_workspace(user)
        client.force_login(user)
        assert client.get("/settings/").status_code == 200
        user.set_password("six tins of green paint")
        user.save()
        assert client.get("/settings/").status_code == 302

    def test_frees_an_account_that_was_guessed_at(self, client: Client, link: Callable[[], str]) -> None:
        make_workspace(make_user("alice@example.com", password=PASSWORD))
        for _ in range(throttle.TRIES_PER_ACCOUNT):
            sign_in("alice@example.com", "wrong")
        form = client.get(link(), follow=True).redirect_chain[-1][0]
        new = "six tins of green paint"
        client.post(form, {"password1": new, "password2": new})
        assert sign_in("alice@example.com", new).status_code == 302

    def test_asking_tells_nobody_who_has_an_account(self) -> None:
        make_user("alice@example.com", password=PASSWORD)
        answers = {
            words(Client().post("/accounts/password/reset/", {"email": f"{name}@example.com"}, follow=True)).count(
                "on its way"
            )
            for name in ("alice", "nobody")
        }
        assert answers == {1}


def test_a_team_member_signs_in_to_the_workspace_she_is_a_guest_of(client: Client) -> None:
    workspace = make_workspace(name="Alice's Shop")
    make_member(workspace, Role.VIEWER, email="bob@example.com", password=PASSWORD)
    sign_in("bob@example.com", client=client)
    assert "Alice&#x27;s Shop" in words(client.get("/settings/"))


def test_a_region_of_a_page_that_was_signed_out_sends_the_whole_page_to_the_sign_in(client: Client) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/settings/members/"}
    answer = client.get("/devices/", headers=headers)
    assert answer.headers["HX-Redirect"] == "/accounts/login/?next=/settings/members/"
    assert answer.content == b""
