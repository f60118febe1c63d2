"""Values nobody types by accident get a clear answer and leave nothing behind that breaks later."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from campaigns.models import Campaign
from tests.factories import make_campaign, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(alice: User, charlie: User) -> Workspace:
    return make_workspace(alice, timezone="UTC")


def write(as_alice: Client, **fields: Any) -> Any:
    chosen = {
        "audience": "everyone",
        "when": "now",
        "assignment": "sticky",
        "failover": "wait",
        "uncertain_policy": "hold",
    }
    plan = {"name": "Sale", "text": "Hi", "start_at": "", **chosen, **fields}
    return as_alice.post(reverse("campaigns:create"), plan)


@pytest.mark.parametrize("search", ["Sa\0le", "\0", "x" * 9000, "%", "😀"])
def test_a_search_for_anything_is_answered(workspace: Workspace, as_alice: Client, search: str) -> None:
    make_campaign(workspace, name="Sale")
    assert as_alice.get(reverse("campaigns:list"), {"q": search}).status_code == 200


def test_a_start_in_the_year_9999_is_refused_since_other_zones_could_not_show_it(as_alice: Client) -> None:
    answer = write(as_alice, when="at", start_at="9999-12-31T23:59")
    assert answer.status_code == 422
    assert "Choose a time within the next ten years." in answer.content.decode()
    assert not Campaign.objects.exists()


def test_a_gap_too_fine_to_reckon_with_is_none(as_alice: Client) -> None:
    assert write(as_alice, min_delay="5e-324").status_code == 302
    assert Campaign.objects.get().min_delay == 0
