"""Every address of the site, tried by those who may not open it: nothing is shown and nothing changes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import AuditEntry, Membership, Role, User, Workspace
from accounts.tenancy import TenantModel
from tests.factories import make_member, make_user, make_workspace
from tests.role_matrix import MATRIX, NOUNS, SAMPLES, TREES

pytestmark = pytest.mark.django_db

ROLES = [Role.VIEWER, Role.MANAGER, Role.OWNER]
METHODS = ["get", "post"]
REFUSED = {401, 403, 404, 405}


@dataclass(frozen=True)
class Address:
    """One URL pattern. `name` is qualified by its namespaces; nameless patterns go by their route."""

    name: str
    route: str
    parameters: tuple[str, ...]

    @property
    def needed(self) -> str | None:
        return MATRIX.get(self.name) or next((who for tree, who in TREES.items() if self.name.startswith(tree)), None)

    def noun(self, parameter: str) -> str:
        """`/devices/<uuid:uuid>/` → devices"""
        return re.split(r"<[^>]*\b" + parameter + ">", self.route)[0].rstrip("/(?P").rpartition("/")[2]

    def url(self, ids: dict[str, Any]) -> str:
        values = {
            parameter: SAMPLES.get(parameter) or ids.get(self.noun(parameter)) or str(uuid.uuid4())
            for parameter in self.parameters
        }
        return reverse(self.name, kwargs=values)


def addresses(resolver: Any = None, route: str = "", namespaces: tuple[str, ...] = ()) -> Iterator[Address]:
    for entry in (resolver or get_resolver()).url_patterns:
        here = route + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            yield from addresses(entry, here, inner)
        elif isinstance(entry, URLPattern):
            name = ":".join((*namespaces, entry.name)) if entry.name else here
            named = tuple(entry.pattern.converters) or tuple(entry.pattern.regex.groupindex)
            yield Address(name, here, named)


def site() -> list[Address]:
    """All but the trees, whose views are not ours; those are asked about at their roots."""
    return [address for address in addresses() if not address.name.startswith(tuple(TREES))]


@dataclass
class World:
    workspace: Workspace
    ids: dict[str, Any]
    secrets: list[str]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All that Alice has."""
        rows = {
            model._meta.label: list(model.objects.filter(workspace=self.workspace).order_by("pk").values())
            for model in apps.get_models()
            if issubclass(model, TenantModel | Membership | AuditEntry)
        }
        return {**rows, "workspace": list(Workspace.objects.filter(pk=self.workspace.pk).values())}


@pytest.fixture
def alice_world() -> World:
    """Alice's workspace with one of each noun."""
    workspace = make_workspace(name="Alice's unmistakable shop")
    made = {word: make(workspace) for word, make in NOUNS.items()}
    names = [str(getattr(noun, "name", "")) for noun in made.values()]
    return World(workspace, {word: noun.uuid for word, noun in made.items()}, [name for name in names if name])


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside leaves no trace: each address meets the same world."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def written() -> int:
    """How many rows this transaction has written so far, undone or not: where it stays the same, nothing changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables")
        return cursor.fetchone()[0]


def browser(user: User | None = None) -> Client:
    client = Client(raise_request_exception=False)
    if user:
        client.force_login(user)
    return client


def to_sign_in(response: Any) -> bool:
    return response.status_code == 302 and response.headers["Location"].startswith(reverse("account_login"))


def test_every_address_is_in_the_role_matrix() -> None:
    missing = [f'"{a.name}": "?",   # /{a.route}' for a in addresses() if a.needed is None]
    assert not missing, "Who may open these? Add to MATRIX in tests/role_matrix.py:\n" + "\n".join(missing)


def test_every_line_of_the_matrix_is_an_address() -> None:
    assert set(MATRIX) - {address.name for address in addresses()} == set()


def test_every_id_in_an_address_is_of_a_known_noun() -> None:
    missing = {
        f'"{address.noun(parameter)}": make_…,   # /{address.route}'
        for address in site()
        for parameter in address.parameters
        if parameter not in SAMPLES and address.noun(parameter) not in NOUNS
    }
    assert not missing, "What makes one of these? Add to NOUNS in tests/role_matrix.py:\n" + "\n".join(sorted(missing))


def test_nobody_gets_in_without_signing_in(alice_world: World) -> None:
    before, open_doors, nobody = alice_world.rows(), [], browser()
    for address in site():
        if address.needed == "public":
            continue
        answers = [getattr(nobody, method)(address.url(alice_world.ids)) for method in METHODS]
        refused = [to_sign_in(answer) or answer.status_code in REFUSED for answer in answers]
        if not all(refused) or all(answer.status_code == 405 for answer in answers):
            open_doors.append(f"{address.name}: {[answer.status_code for answer in answers]}")
    assert not open_doors, "\n".join(open_doors)
    assert alice_world.rows() == before


def test_public_pages_open_without_signing_in(alice_world: World) -> None:
    for address in site():
        if address.needed == "public":
            answer = browser().get(address.url(alice_world.ids))
            assert answer.status_code < 500, address.name
            # allauth sends whoever has no half-finished sign-in back to its beginning
            assert not to_sign_in(answer) or "code" in address.name or "confirm" in address.name, address.name


def test_p18_a_stranger_sees_and_changes_nothing_of_hers(alice_world: World) -> None:
    charlie = browser(make_workspace(name="Charlie's").owner)
    before, leaks = alice_world.rows(), []
    for address in site():
        theirs = [parameter for parameter in address.parameters if parameter not in SAMPLES]
        for method in METHODS:
            with undone():
                so_far = written()
                answer = getattr(charlie, method)(address.url(alice_world.ids))
                if theirs and answer.status_code not in {404, 405}:
                    leaks.append(f"{method} {address.name} answers {answer.status_code}, not 404")
                if any(secret in b"".join(answer).decode() for secret in alice_world.secrets):
                    leaks.append(f"{method} {address.name} shows something of hers")
                if answer.status_code >= 500:
                    leaks.append(f"{method} {address.name} breaks")
                if written() != so_far and alice_world.rows() != before:
                    leaks.append(f"{method} {address.name} changed something of hers")
    assert not leaks, "\n".join(leaks)


def test_members_open_what_their_role_covers_and_nothing_else(alice_world: World) -> None:
    cast = {role: browser(make_member(alice_world.workspace, role)) for role in [Role.VIEWER, Role.MANAGER]}
    cast[Role.OWNER] = browser(alice_world.workspace.owner)
    wrong = []
    for address in site():
        if address.needed not in ROLES:
            continue
        for role, client in cast.items():
            codes = []
            for method in METHODS:
                with undone():
                    codes.append(getattr(client, method)(address.url(alice_world.ids)).status_code)
            may = role.covers(address.needed)
            if may and {403, 404} & set(codes) and not {200, 302} & set(codes):
                wrong.append(f"{address.name}: a {role} may, and gets {codes}")
            if max(codes) >= 500:
                wrong.append(f"{address.name}: breaks for a {role}: {codes}")
            if not may and set(codes) - {403, 405}:
                wrong.append(f"{address.name}: a {role} may not, and gets {codes}")
            if codes == [405, 405]:
                wrong.append(f"{address.name}: neither GET nor POST")
    assert not wrong, "\n".join(wrong)


def test_only_staff_open_the_staff_pages(alice_world: World) -> None:
    roots = [reverse("admin:index"), reverse("admin:accounts_user_changelist"), "/admin/queues/"]
    pages = roots + [address.url({}) for address in site() if address.needed == "staff"]
    staff = browser(make_user(is_staff=True, is_superuser=True))
    others = [browser(), browser(alice_world.workspace.owner)]
    for url in pages:
        for client in others:
            assert client.get(url).status_code in REFUSED | {302}, url
        # some only take a POST, and some show what an id names
        assert staff.get(url).status_code in {200, 302, 404, 405, 503}, url


def test_looking_changes_nothing(alice_world: World) -> None:
    owner = browser(alice_world.workspace.owner)
    before, changing = alice_world.rows(), []
    for address in site():
        if address.needed in ROLES:
            with undone():
                so_far = written()
                owner.get(address.url(alice_world.ids))
                if written() != so_far and alice_world.rows() != before:
                    changing.append(address.name)
    assert not changing, "\n".join(changing)


def test_every_post_needs_a_csrf_token(alice_world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice_world.workspace.owner)
    open_doors = [
        address.name for address in site() if client.post(address.url(alice_world.ids)).status_code not in {403, 405}
    ]
    assert not open_doors, "\n".join(open_doors)
