"""A campaign written step by step in the browser: counted, saved as it is typed, seen, started."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from campaigns.models import Campaign, CampaignState
from tests.e2e.steps import next_step
from tests.factories import make_contact, make_device, make_workspace

pytestmark = pytest.mark.browser


def test_a_campaign_is_written_step_by_step_and_nothing_typed_is_lost(
    sign_in: Callable[..., Page], transactional_db: None
) -> None:
    workspace = make_workspace()
    for number in range(6):
        make_contact(workspace, name=f"Ann {number}", tags=("staff",) if number < 2 else ("guests",))
    make_device(workspace, name="Front desk")
    make_device(workspace, name="Bar")
    page = sign_in(workspace.owner)
    page.goto("/campaigns/new/")
    page.get_by_label("Name", exact=True).fill("Opening night")
    page.get_by_label("Everyone in this workspace").check()
    expect(page.locator("#audience")).to_contain_text("6 people can be reached")
    page.get_by_text("Leave people out").click()
    page.get_by_role("group", name="Not with these tags").get_by_text("staff").click()
    expect(page.locator("#audience")).to_contain_text("2 more get nothing: they have an excluded tag")
    next_step(page, "message")

    page.get_by_label("Text", exact=True).fill("Hello {{ first_name }}")
    expect(page.locator("#preview .bubble")).to_have_text("Hello Ann")
    expect(page.locator("#saved")).to_contain_text(re.compile(r"Saved \d"))
    page.reload()
    expect(page.get_by_label("Text", exact=True)).to_have_value("Hello {{ first_name }}")
    page.get_by_text("Try variants").click()
    page.get_by_label("Variant B").fill("Good evening {{ first_name }}")
    page.get_by_role("group", name="Look at").get_by_text("B").click()
    expect(page.locator("#preview .bubble")).to_have_text("Good evening Ann")
    page.get_by_role("button", name="When").click()

    page.get_by_label("At a time").check()
    page.get_by_role("button", name="Save and review").click()
    expect(page.get_by_text("Choose a day and a time.")).to_be_visible()
    page.get_by_label("When somebody presses start").check()
    page.get_by_role("button", name=re.compile("Devices and pace")).click()
    page.get_by_label("All 2 devices").check()
    expect(page.locator("#audience")).to_contain_text("Through 2 devices")
    page.get_by_role("button", name="Save and review").click()
    expect(page.get_by_text("2 variants")).to_be_visible()
    assert page.locator(".step-done").count() == 4
    page.get_by_role("button", name="Start: 4 people").click()
    expect(page.locator(".campaign-head .state")).to_have_text("Running")
    assert Campaign.objects.get().state == CampaignState.RUNNING
    page.wait_for_load_state("networkidle")
