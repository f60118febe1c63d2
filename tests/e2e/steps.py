"""What people do and see on the pages, in the words of the browser tests."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

SLOW_MS = 60_000


def go_as_fast_as_it_can(page: Page) -> None:
    page.get_by_label("Shortest gap").fill("0")
    page.get_by_label("Longest gap").fill("0")
    page.get_by_role("button", name="Save the pace").click()
    expect(page.get_by_text("Saved. The next message obeys it.")).to_be_visible()


def send_a_test(page: Page) -> None:
    page.get_by_label("To your own number").fill("+12125550199")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#test-messages .state").first).to_have_text(re.compile("Delivered|Read"), timeout=SLOW_MS)


def next_step(page: Page, step: str) -> None:
    """Save this step of a campaign and be at the next one."""
    page.locator(".form-foot").get_by_role("button", name="Next").click()
    expect(page).to_have_url(re.compile(f"/edit/{step}/$"))


def campaign_state(page: Page) -> Locator:
    return page.locator(".campaign-head .state")


def figure(page: Page, label: str) -> Locator:
    box = page.locator(".figure", has=page.locator(".figure-label", has_text=re.compile(f"^{label}$")))
    return box.locator(".figure-value")


def shown(page: Page, label: str) -> int:
    """The figure with this label, as the page shows it now."""
    return int(figure(page, label).inner_text().replace(",", ""))
