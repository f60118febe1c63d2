"""Choosing a file for a message in the browser: uploaded at once, seen as its reader will see it, and sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Page, expect

from campaigns.models import Campaign
from campaigns.steps import MESSAGE
from tests.campaigns.form_cases import step_url
from tests.e2e.conftest import PHONE, Site
from tests.e2e.steps import next_step
from tests.factories import make_campaign, make_contact, make_device, make_picture, make_workspace

pytestmark = pytest.mark.browser
MB = 1 << 20


def file(name: str, data: bytes, mime: str = "application/octet-stream") -> dict[str, object]:
    return {"name": name, "mimeType": mime, "buffer": data}


@pytest.mark.parametrize("look", [{}, {"viewport": PHONE, "color_scheme": "dark"}])
def test_a_picture_is_chosen_seen_kept_and_taken_away(
    sign_in: Callable[..., Page], transactional_db: None, look: dict[str, object]
) -> None:
    workspace = make_workspace()
    make_contact(workspace, name="Ana Lim")
    make_device(workspace)
    page = sign_in(workspace.owner, **look)
    page.goto("/campaigns/new/")
    page.get_by_label("Name", exact=True).fill("Spring")
    page.get_by_label("Everyone in this workspace").check()
    next_step(page, "message")
    page.get_by_label("Text", exact=True).fill("Hello {{ name }}")
    chooser, bubble = page.locator("#id_file"), page.locator("#preview .bubble")
    chooser.set_input_files(file("menu.pdf", b"MZ\x90\0" + bytes(500)))  # type: ignore[arg-type]
    expect(page.locator("#message-file .invalid-feedback")).to_contain_text("programs are not sent")
    chooser.set_input_files(file("terrace.jpg", make_picture((1200, 800))))  # type: ignore[arg-type]
    expect(page.locator("#message-file")).to_contain_text("terrace.jpg")
    expect(bubble.locator("img")).to_be_visible()
    expect(bubble).to_contain_text("Hello Ana Lim")
    assert page.evaluate("document.querySelector('#preview img').naturalWidth") == 1200
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#message-file")).not_to_contain_text("terrace.jpg")
    expect(bubble.locator("img")).to_have_count(0)
    chooser.set_input_files(file("prices.pdf", b"%PDF-1.7\nprices"))  # type: ignore[arg-type]
    expect(bubble).to_contain_text("prices.pdf")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Hello {{ name }}")
    page.get_by_role("button", name="Save and review").click()
    expect(page).to_have_url(re.compile(r"/campaigns/[0-9a-f-]{36}/$"))
    expect(page.locator("#preview .bubble")).to_contain_text("prices.pdf")
    campaign = Campaign.objects.get()
    assert campaign.content.media is not None
    page.goto(step_url(campaign, MESSAGE))
    expect(page.locator("#message-file")).to_contain_text("prices.pdf")
    page.wait_for_load_state("networkidle")  # what the page still asks for would meet the emptying of the tables


def test_large_uploads_leave_the_web_process_small(site: Site, sign_in: Callable[..., Page], tmp_path: Path) -> None:
    workspace = make_workspace()
    page = sign_in(workspace.owner)
    web = next(process for process in psutil.Process().children() if str(urlsplit(site.url).port) in process.cmdline())
    page.goto(step_url(make_campaign(workspace), MESSAGE))
    page.locator("#id_file").set_input_files(file("small.pdf", b"%PDF-1.7\n"))  # type: ignore[arg-type]
    expect(page.locator("#message-file")).to_contain_text("small.pdf")
    before = web.memory_info().rss
    for number in range(4):
        clip = tmp_path / f"clip {number}.mp4"
        clip.write_bytes(b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes([number]) * (15 * MB))
        page.locator("#id_file").set_input_files(clip)
        expect(page.locator("#message-file")).to_contain_text(clip.name)
        uuid = page.locator("#message-file [name=media_uuid]").input_value()
        address = f"/campaigns/files/{uuid}/"
        assert len(page.context.request.get(address).body()) == clip.stat().st_size
    photo = tmp_path / "photo.png"
    photo.write_bytes(make_picture((7_900, 5_000), format="PNG"))
    page.locator("#id_file").set_input_files(photo)
    expect(page.locator("#message-file")).to_contain_text("photo.png")
    page.wait_for_load_state("networkidle")
    assert web.memory_info().rss - before < 100 * MB
