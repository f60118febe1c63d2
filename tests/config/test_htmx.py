"""Caches tell a page from the fragment that htmx gets at the same address."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.factories import make_workspace


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "fragment"])
def test_a_fragment_is_never_taken_for_the_page(client: Client, headers: dict[str, str]) -> None:
    client.force_login(make_workspace().owner)
    assert "HX-Request" in client.get("/devices/", headers=headers).headers["Vary"]
