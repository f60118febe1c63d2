"""Values nobody types by accident get a clear answer and leave nothing behind that breaks later."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from campaigns.models import Campaign
from campaigns.steps import DEVICES, WHEN
from tests.campaigns.form_cases import filled, step_url
from tests.factories import make_campaign, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, timezone="UTC")


def save(as_alice: Client, workspace: Workspace, step: str, **fields: Any) -> Any:
    return as_alice.post(step_url(make_campaign(workspace), step), filled(step, **fields))


@pytest.mark.parametrize("search", ["Sa\0le", "\0", "x" * 9000, "%", "😀"])
def test_a_search_for_anything_is_answered(workspace: Workspace, as_alice: Client, search: str) -> None:
    make_campaign(workspace, name="Sale")
    assert as_alice.get(reverse("campaigns:list"), {"q": search}).status_code == 200


def test_a_start_in_the_year_9999_is_refused_since_other_zones_could_not_show_it(
    workspace: Workspace, as_alice: Client
) -> None:
    answer = save(as_alice, workspace, WHEN, when="at", start_at="9999-12-31T23:59")
    assert answer.status_code == 422
    assert "Choose a time within the next ten years." in answer.content.decode()
    assert Campaign.objects.get().start_at is None


def test_a_gap_too_fine_to_reckon_with_is_none(workspace: Workspace, as_alice: Client) -> None:
    assert save(as_alice, workspace, DEVICES, min_delay="5e-324").status_code == 302
    assert Campaign.objects.get().min_delay == 0
