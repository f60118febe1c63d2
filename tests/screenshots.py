"""`python -m tests.screenshots`: pictures of the pages into docs/screenshots, taken of a running `./run --demo`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / "docs" / "screenshots"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
PAGES = {
    "home": "/dashboard",
    "devices": "/devices/",
    "contacts": "/contacts/",
    "segments": "/contacts/segments/",
    "segment": "/contacts/segments/new/",
    "tags": "/contacts/tags/",
    "fields": "/contacts/fields/",
    "imports": "/contacts/imports/",
    "consent": "/contacts/consent/",
    "suppressed": "/contacts/suppressed/",
    "templates": "/content/",
    "media": "/content/media/",
    "campaigns": "/campaigns/",
    "calendar": "/campaigns/calendar/",
    "settings": "/settings/",
}
DETAILS = {
    "device": "/devices/",
    "contact": "/contacts/",
    "template": "/content/",
    "campaign": "/campaigns/?state=running",
}
DETAIL = re.compile(r"^/(devices|campaigns|contacts|content/templates)/[0-9a-f-]{36}/$")


def main(address: str) -> None:
    email, password = (PROJECT / "var" / "demo.txt").read_text().split()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for look in LOOKS:
            take(browser, look, address, email, password)


def take(browser: Browser, look: str, address: str, email: str, password: str) -> None:
    context = browser.new_context(base_url=address, **LOOKS[look])  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/accounts/login/")
    page.locator("[name=login]").fill(email)
    page.locator("[name=password]").fill(password)
    page.locator("form button[type=submit]").first.click()
    page.wait_for_url("**/dashboard")
    for name, path in PAGES.items():
        page.goto(path)
        picture(page, f"{name}-{look}")
    for name, path in DETAILS.items():
        page.goto(path)
        page.goto(first_detail(page))
        picture(page, f"{name}-{look}")
    page.goto("/campaigns/?state=draft")
    draft = first_detail(page)
    for step in ("audience", "message", "devices", "when"):
        page.goto(f"{draft}edit/{step}/")
        picture(page, f"write-{step}-{look}")
    page.goto("/campaigns/?state=completed")
    campaign = first_detail(page)
    page.goto(f"{campaign}report/")
    picture(page, f"report-{look}")
    page.goto(f"{campaign}recipients/?figure=sent")
    picture(page, f"recipients-{look}")
    page.get_by_role("link", name=re.compile("^What happened")).first.click()
    picture(page, f"recipient-{look}")
    context.close()


def first_detail(page: Page) -> str:
    """The address of the first noun that the list on the page links to."""
    links = (link.get_attribute("href") or "" for link in page.locator("main a").all())
    return next(link for link in links if DETAIL.match(link))


def picture(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")
