"""The staff's pages about people: they open, they search, and what is done there is noted."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, LoginThrottle, Membership, Role, User, Workspace
from accounts.throttle import account_key, take_try
from tests.factories import make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db
MODELS = list(apps.get_app_config("accounts").get_models())


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("staff@example.com", is_staff=True, is_superuser=True))
    return client


def membership_rows(workspace: Workspace, **changed: str) -> dict[str, str]:
    rows = list(workspace.memberships.order_by("pk"))
    data = {"memberships-TOTAL_FORMS": str(len(rows)), "memberships-INITIAL_FORMS": str(len(rows))}
    for number, row in enumerate(rows):
        data |= {
            f"memberships-{number}-id": str(row.pk),
            f"memberships-{number}-workspace": str(workspace.pk),
            f"memberships-{number}-user": str(row.user_id),
            f"memberships-{number}-role": row.role,
        }
    return {**data, **changed}


def workspace_form(workspace: Workspace) -> dict[str, str]:
    return {
        "name": workspace.name,
        "owner": str(workspace.owner_id),
        "timezone": workspace.timezone,
        "default_country": workspace.default_country,
        "device_limit": str(workspace.device_limit),
        "weight": str(workspace.weight),
        "frequency_days": str(workspace.frequency_days),
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_listed_and_searchable(staff: Client, model: type) -> None:
    make_workspace()
    take_try("alice@example.com", "203.0.113.9")
    name = model._meta.model_name  # type: ignore[attr-defined]
    assert admin.site.get_model_admin(model).search_fields
    assert staff.get(reverse(f"admin:accounts_{name}_changelist"), {"q": "alice"}).status_code == 200


@pytest.mark.parametrize("model", [User, Workspace, Membership, AuditEntry])
def test_every_form_opens(staff: Client, model: type) -> None:
    make_workspace()
    AuditEntry.objects.create(action="looked")
    row = model.objects.first()  # type: ignore[attr-defined]
    name = model._meta.model_name  # type: ignore[attr-defined]
    assert staff.get(reverse(f"admin:accounts_{name}_change", args=[row.pk])).status_code == 200
    if model is not AuditEntry:
        assert staff.get(reverse(f"admin:accounts_{name}_add")).status_code == 200


def test_staff_make_a_user_by_address(staff: Client) -> None:
    password = "five tins of blue paint"
    staff.post(
        reverse("admin:accounts_user_add"),
        {"email": "bob@example.com", "usable_password": "true", "password1": password, "password2": password},
    )
    assert User.objects.get(email="bob@example.com").check_password(password)


def test_a_role_given_changed_and_taken_is_noted(staff: Client) -> None:
    workspace = make_workspace()
    bob = make_member(workspace, Role.VIEWER)
    url = reverse("admin:accounts_workspace_change", args=[workspace.pk])
    for changed in ({"memberships-1-role": "manager"}, {"memberships-1-DELETE": "on"}):
        answer = staff.post(url, {**workspace_form(workspace), **membership_rows(workspace, **changed)})
        assert answer.status_code == 302
    noted = AuditEntry.objects.filter(workspace=workspace, target=f"user:{bob.pk}").order_by("pk")
    assert [(entry.action, entry.detail["role"]) for entry in noted] == [
        ("member.role", "manager"),
        ("member.removed", "manager"),
    ]


def test_a_new_limit_is_noted(staff: Client) -> None:
    workspace = make_workspace()
    url = reverse("admin:accounts_workspace_change", args=[workspace.pk])
    staff.post(url, {**workspace_form(workspace), "device_limit": "40", **membership_rows(workspace)})
    assert Workspace.objects.get(pk=workspace.pk).device_limit == 40
    assert AuditEntry.objects.get(action="workspace.changed").detail == {"device_limit": "40"}


def test_the_ledger_cannot_be_changed_from_here(staff: Client) -> None:
    entry = AuditEntry.objects.create(action="looked")
    url = reverse("admin:accounts_auditentry_change", args=[entry.pk])
    assert staff.post(url, {"action": "nothing"}).status_code == 403
    assert staff.post(reverse("admin:accounts_auditentry_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    assert staff.get(reverse("admin:accounts_auditentry_add")).status_code == 403


def test_staff_let_a_locked_out_person_in_again(staff: Client) -> None:
    take_try("alice@example.com", "203.0.113.9")
    key = account_key("alice@example.com")
    staff.post(reverse("admin:accounts_loginthrottle_delete", args=[key]), {"post": "yes"})
    assert not LoginThrottle.objects.filter(pk=key).exists()
