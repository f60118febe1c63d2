"""The page behind an opt-out link, on a phone and without any script."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from campaigns.models import Suppression
from campaigns.opt_out import token_for
from tests.e2e.conftest import PHONE
from tests.factories import make_contact, make_workspace

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_person_stops_and_starts_again_on_a_phone_without_scripts(open_page: Callable[..., Page]) -> None:
    contact = make_contact(make_workspace(name="Meridian Coffee"), phone="+60123456789")
    contact.refresh_from_db()
    page = open_page(viewport=PHONE, java_script_enabled=False)
    page.goto(reverse("campaigns:opt_out", args=[token_for(contact.uuid)]))
    expect(page.get_by_role("heading")).to_have_text("Messages from Meridian Coffee")
    assert not Suppression.objects.exists()
    page.get_by_role("button", name="Stop all messages").click()
    expect(page.get_by_role("status")).to_contain_text("You get no more messages")
    assert Suppression.objects.get().phone == contact.phone
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("button", name="No messages for 30 days")).to_be_visible()
    assert not Suppression.objects.exists()
