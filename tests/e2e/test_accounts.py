"""A newcomer signs up in a browser and finds her way, in light, dark and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Workspace
from accounts.setup import first_account_url
from tests.e2e.conftest import PHONE, SignedUp, Site
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.browser
PAGES = ["/dashboard", "/devices/", "/contacts/", "/campaigns/", "/settings/", "/settings/members/", "/accounts/email/"]
WITH_LITTLE = [
    "/contacts/segments/new/",
    "/contacts/suppressed/",
    "/content/media/",
    "/campaigns/new/",
    "/campaigns/calendar/",
]


def test_a_newcomer_signs_up_and_her_time_zone_is_known(sign_up: Callable[..., SignedUp]) -> None:
    alice = sign_up("Alice's Shop", timezone_id="America/New_York")
    expect(alice.page.get_by_title("Workspace")).to_have_text("Alice's Shop")
    assert Workspace.objects.get(owner=alice.user).timezone == "America/New_York"


def test_she_signs_out_and_in_again(sign_up: Callable[..., SignedUp]) -> None:
    alice = sign_up()
    page = alice.page
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("E-mail").fill(alice.user.email)
    page.get_by_label("Password").fill(alice.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/dashboard$"))


def test_the_first_account_is_made_by_the_one_time_link(page: Page, site: Site) -> None:
    link = first_account_url(site.url)
    assert link
    page.goto(link)
    page.get_by_label("E-mail").fill("first@example.com")
    page.get_by_label("Password").fill("five tins of blue paint")
    page.get_by_label("Workspace").fill("The first shop")
    page.get_by_role("button", name="Make the account").click()
    expect(page).to_have_url(re.compile(r"/dashboard$"))
    page.get_by_label("Account").click()
    page.get_by_role("link", name="Administration").click()
    expect(page.get_by_text("Site administration")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_the_chosen_theme_is_remembered(open_page: Callable[..., Page]) -> None:
    page = open_page(color_scheme="light")
    page.goto("/accounts/login/")
    root = page.locator("html")
    expect(root).to_have_attribute("data-bs-theme", "light")
    page.get_by_label("Light or dark").click()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.get_by_label("Light or dark").click()
    page.get_by_role("button", name="Same as the system").click()
    expect(root).to_have_attribute("data-bs-theme", "light")


def test_no_page_is_wider_than_a_phone(sign_in: Callable[..., Page]) -> None:
    workspace = make_workspace(name="A workspace with quite a long name that needs its room")
    device = make_device(workspace, name="The device at the front desk of the second floor")
    contact = make_contact(workspace)
    campaign = make_campaign(workspace, name="An autumn campaign with a long name", devices=(device,))
    page = sign_in(workspace.owner, viewport=PHONE)
    for path in [
        *PAGES,
        *WITH_LITTLE,
        f"/devices/{device.uuid}/",
        f"/contacts/{contact.uuid}/",
        f"/campaigns/{campaign.uuid}/",
    ]:
        page.goto(path)
        box = page.locator("main").bounding_box()
        assert box, path
        assert box["width"] <= PHONE["width"], path
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_the_menu_opens_on_a_phone_and_goes_everywhere(sign_in: Callable[..., Page]) -> None:
    page = sign_in(make_workspace().owner, viewport=PHONE)
    page.goto("/dashboard")
    for name in ("Devices", "Contacts", "Campaigns", "Settings"):
        page.get_by_label("Open the menu").click()
        page.get_by_label("Main menu").get_by_role("link", name=name).click()
        expect(page.get_by_label("Main menu").locator("[aria-current=page]")).to_have_text(re.compile(name))


def test_the_keyboard_reaches_the_page_past_the_menu(sign_in: Callable[..., Page]) -> None:
    page = sign_in(make_workspace().owner)
    page.goto("/settings/members/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
