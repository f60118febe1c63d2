"""`python -m tests.screenshots`: pictures of the pages into docs/screenshots, taken of a running `./run --demo`.

`python -m tests.screenshots http://localhost:8000 people after` takes those of two parts.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / "docs" / "screenshots"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
LOOKS: dict[str, Any] = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
TALLEST = 2_000
COLOURS = 256
NOUN = re.compile(
    r"^/(devices|campaigns|contacts|contacts/imports|contacts/segments|content/templates)/[0-9a-f-]{36}/$"
)
PEOPLE = """Name,Mobile,City,Joined,Newsletter
Ana Lim,+1 212 555 0141,New York,2026-03-01,yes
Bilal Qureshi,see Instagram,Boston,2025-11-20,no
Chloé Moreau-Fontaine de la Tour,+1 514 555 0177,Montréal,2024-01-31,yes
"""
OPT_OUT = """
from campaigns.models import Contact
from campaigns.opt_out import token_for
print("/o/" + token_for(Contact.objects.filter(opted_out_at=None).order_by("pk").first().uuid))
"""
STAFF = """
from accounts.models import User
User.objects.filter(email={email!r}).update(is_staff={is_staff})
"""
ALERTS_MAIL = """
from accounts.models import Membership
from monitoring.alerting import mail_of
from monitoring.models import Alert
workspace = Membership.objects.get(user__email={email!r}, role="owner").workspace
alerts = Alert.objects.for_workspace(workspace).order_by("since")
print(mail_of(workspace, list(alerts[:6]), [workspace.owner]).alternatives[0][0])
"""


@dataclass
class Camera:
    """A signed-in page, and the look it is seen in."""

    page: Page
    look: str

    def go(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_load_state("networkidle")

    def take(self, name: str, address: str = "", whole: bool = True) -> None:
        if address:
            self.go(address)
        self.page.wait_for_load_state("networkidle")
        window = LOOKS[self.look]["viewport"]
        if whole:  # a window as tall as the page: what sticks to the window's edge stays where it belongs
            height = self.page.evaluate("document.documentElement.scrollHeight")
            self.page.set_viewport_size(
                {"width": window["width"], "height": max(window["height"], min(height, TALLEST))}
            )
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        self.page.set_viewport_size(window)
        few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(FOLDER / f"{name}-{self.look}.png", optimize=True)

    def noun(self) -> str:
        """The address of the first noun that the list on the page links to."""
        links = (link.get_attribute("href") or "" for link in self.page.locator("main a").all())
        return next(link for link in links if NOUN.match(link))

    def find(self, list_address: str) -> str:
        self.go(list_address)
        return self.noun()

    def campaign(self, name: str) -> str:
        return self.find(f"/campaigns/?q={name}")

    @contextmanager
    def dialog(self, opener: str) -> Iterator[None]:
        """A dialog stands over the page as somebody sees it, so the picture is not longer than the window."""
        self.page.locator("main").get_by_role("button", name=re.compile(f"^{opener}")).first.click()
        yield
        self.page.keyboard.press("Escape")


def first(camera: Camera) -> None:
    camera.take("home", "/dashboard")
    camera.take("devices", "/devices/")
    camera.take("device", camera.find("/devices/"))
    camera.take("settings", "/settings/")


def people(camera: Camera) -> None:
    page = camera.page
    camera.take("contacts", "/contacts/")
    camera.go("/contacts/?tag=newsletter&status=customer&field=city&is=is&value=New+York&reply=never")
    page.get_by_text("More filters").click()
    for tick in page.locator("input[name=who]").all()[:2]:
        tick.check()
    camera.take("contacts-filtered", whole=False)
    page.get_by_role("button", name="Continue").click()
    camera.take("contacts-change")
    camera.take("contact", camera.find("/contacts/?reply=30"))
    contact = page.url
    camera.take("contact-edit", f"{contact}edit/")
    camera.take("contact-erase", f"{contact}erase/")
    camera.take("contact-new", "/contacts/new/")
    camera.take("segments", "/contacts/segments/")
    camera.take("segment", camera.noun())
    camera.take("tags", "/contacts/tags/")
    camera.take("tag-merge", "/contacts/tags/merge/?tag=newsletter&into=vip")
    camera.take("fields", "/contacts/fields/")


def imports(camera: Camera) -> None:
    page = camera.page
    camera.take("imports", "/contacts/imports/")
    camera.take("import", camera.noun())
    camera.take("import-upload", "/contacts/imports/new/")
    file = {"name": "market-stall.csv", "mimeType": "text/csv", "buffer": PEOPLE.encode()}
    page.get_by_label("CSV file or workbook").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Upload and look at it").click()
    camera.take("import-mapping")
    page.get_by_label("Where is the proof kept?").fill("cards in folder 9")
    page.get_by_label("They agreed in person").check()
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name="Import these people now").wait_for()
    camera.take("import-dry-run")


def consent(camera: Camera) -> None:
    page = camera.page
    camera.take("consent", "/contacts/consent/")
    camera.take("suppressed", "/contacts/suppressed/")
    page.get_by_role("link", name=re.compile("^Remove")).first.click()
    camera.take("suppressed-remove")
    camera.take("suppressed-add", "/contacts/suppressed/add/")
    camera.take("opt-out", opt_out_page())


@cache
def opt_out_page() -> str:
    """The address of somebody's page, which stands only in messages; the running installation signs it."""
    return shell(OPT_OUT).split()[-1]


def shell(program: str) -> str:
    """What it prints within the running installation."""
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", program]
    return subprocess.check_output(command, cwd=PROJECT, text=True)


def content(camera: Camera) -> None:
    camera.take("templates", "/content/")
    camera.take("template", camera.noun())
    camera.take("media", "/content/media/")


def writing(camera: Camera) -> None:
    page = camera.page
    camera.take("write-new", "/campaigns/new/")
    draft = camera.campaign("After")
    for step in ("audience", "message", "devices", "when"):
        camera.go(f"{draft}edit/{step}/")
        for part in page.locator("main summary").all():
            part.click()
        camera.take(f"write-{step}")
    camera.go(f"{draft}edit/message/")
    with camera.dialog("From the library"):
        camera.take("media-picker", whole=False)
    camera.take("review", draft)


def running(camera: Camera) -> None:
    page = camera.page
    camera.take("campaigns", "/campaigns/")
    camera.take("calendar", "/campaigns/calendar/")
    camera.take("campaign", camera.campaign("Winter"))
    camera.take("campaign-text", f"{page.url}text/")
    camera.take("campaign-canary", camera.campaign("Brewing"))
    camera.take("campaign-paused-itself", camera.campaign("Plan survey"))
    with camera.dialog("Retry failed"):
        camera.take("retry-dialog", whole=False)


def after(camera: Camera) -> None:
    page = camera.page
    campaign = camera.campaign("Autumn")
    camera.take("report", f"{campaign}report/")
    camera.take("recipients", f"{campaign}recipients/?figure=replied")
    page.get_by_role("link", name=re.compile("^What happened")).first.click()
    camera.take("recipient")
    camera.take("recipients-failed", f"{campaign}recipients/?figure=failed")
    camera.take("retry", f"{campaign}retry-failed/confirm/")


def workers(camera: Camera) -> None:
    page = camera.page
    camera.take("workers", "/dashboard/workers")
    page.locator(".worker-grid > a").first.click()
    page.locator("#worker-drawer .offcanvas-title").wait_for()
    camera.take("worker", whole=False)
    camera.take("workers-table", "/dashboard/workers?view=table&sort=-queue")
    with camera.dialog("Pause all"):
        camera.take("workers-pause", whole=False)
    camera.take("wall-links", "/dashboard/walls/")
    if not page.get_by_role("link", name="Open it").count():
        page.get_by_label("Where it hangs").fill("Office, second floor")
        page.get_by_role("button", name="Make the link").click()
        page.get_by_role("link", name="Open it").first.wait_for()
    camera.take("wall", page.get_by_role("link", name="Open it").first.get_attribute("href") or "", whole=False)


def reports(camera: Camera) -> None:
    camera.take("campaign-summary", "/dashboard/campaigns?range=30")
    camera.take("device-report", "/dashboard/devices?range=30")
    links = (link.get_attribute("href") or "" for link in camera.page.locator("#report-rows a.report-name").all())
    camera.take("device-own-report", next(links))
    retry = camera.page.locator("main a", has_text="Retry failed")
    camera.go("/dashboard/devices?range=30")
    if retry.count():
        camera.take("device-retry", retry.first.get_attribute("href") or "")


def queue(camera: Camera) -> None:
    page = camera.page
    camera.go("/queue/")
    page.get_by_text("By device").click()
    page.locator("#queue-devices table").or_(page.get_by_text("Nothing waits at any device")).first.wait_for()
    camera.take("queue")
    page.locator(".queue-count").first.click()
    camera.take("queue-group")
    camera.take("queue-uncertain", "/queue/uncertain/")
    camera.take("alerts", "/settings/alerts/")
    page.goto("about:blank")  # else the site's policy keeps the mail's own style out
    page.set_content(shell(ALERTS_MAIL.format(email=demo_account()[0])))
    camera.take("alerts-mail")


def watching(camera: Camera) -> None:
    camera.take("status", "/status")


def staff(camera: Camera) -> None:
    """The owner of the demo is of the staff while these are taken."""
    page, email = camera.page, demo_account()[0]
    shell(STAFF.format(email=email, is_staff=True))
    try:
        camera.take("fleet", "/operations/workers")
        page.locator(".worker-grid > a").first.click()
        page.locator("#worker-drawer .offcanvas-title").wait_for()
        camera.take("fleet-worker", whole=False)
        camera.take("operations", "/operations/")
        page.get_by_role("button", name="Drain").first.click()
        camera.take("drain")
        camera.take("redis", "/api/system/redis-check")
        camera.take("status-staff", "/status")
    finally:
        shell(STAFF.format(email=email, is_staff=False))


PARTS: list[Callable[[Camera], None]] = [
    running,
    first,
    people,
    imports,
    consent,
    content,
    writing,
    after,
    workers,
    reports,
    queue,
    watching,
    staff,
]


def main(address: str, *parts: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for look in LOOKS:
            take_all(browser, look, address, parts)


def demo_account() -> tuple[str, str]:
    email, password = (PROJECT / "var" / "demo.txt").read_text().split()
    return email, password


def take_all(browser: Browser, look: str, address: str, parts: tuple[str, ...]) -> None:
    email, password = demo_account()
    context = browser.new_context(base_url=address, reduced_motion="reduce", **LOOKS[look])
    page = context.new_page()
    page.goto("/accounts/login/")
    page.locator("[name=login]").fill(email)
    page.locator("[name=password]").fill(password)
    page.locator("form button[type=submit]").first.click()
    page.wait_for_url("**/dashboard")
    for part in PARTS:
        if not parts or part.__name__ in parts:
            part(Camera(page, look))
    context.close()


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["http://localhost:8000"]))
