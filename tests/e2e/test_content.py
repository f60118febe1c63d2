"""Content in the browser: a template is written with a wording or two and a file of the library, and used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from campaigns.models import Template
from tests.e2e.conftest import PHONE
from tests.factories import make_contact, make_device, make_media, make_picture, make_workspace

pytestmark = pytest.mark.browser


def test_a_template_is_written_with_a_file_of_the_library(sign_in: Callable[..., Page], transactional_db: None) -> None:
    workspace = make_workspace()
    make_contact(workspace, name="Ana Lim")
    make_device(workspace)
    for number in range(3):
        make_media(workspace, make_picture((300 + number, 200)), f"terrace {number}.jpg")
    page = sign_in(workspace.owner, viewport=PHONE)
    page.goto("/content/")
    page.get_by_role("link", name="Write a template").click()
    page.get_by_label("Name", exact=True).fill("Spring")
    text, bubble = page.get_by_label("Text"), page.locator("#preview .bubble")
    text.fill("Line one\n{Hi|Hello {{ name }")
    expect(page.locator("#text-problem")).to_contain_text("Line 2, column 1")
    page.get_by_role("button", name="Show me").click()
    assert page.evaluate("getSelection().toString() || document.activeElement.selectionStart") in ("{", 9)
    text.fill("{Hi|Hello} ")
    page.get_by_role("button", name="First name").click()
    expect(bubble).to_contain_text("Hi Ana")
    expect(page.locator("#text-problem")).to_be_empty()
    page.get_by_role("button", name="Next wording").click()
    expect(bubble).to_contain_text("Hello Ana")
    page.get_by_role("button", name="From the library").click()
    page.get_by_label("Search files by name").fill("terrace 1")
    expect(page.locator("#media-picker .media-card")).to_have_count(1)
    page.get_by_role("button", name="terrace 1.jpg").click()
    expect(page.locator("#message-file .file-chosen")).to_contain_text("terrace 1.jpg")
    expect(page.locator("#media-picker")).not_to_be_visible()
    expect(bubble.locator("img")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Save the template").click()
    expect(page.locator("#template-list")).to_contain_text("Spring")
    template = Template.objects.get()
    assert template.content.text == "{Hi|Hello} {{ first_name }}"
    assert template.content.media is not None
    page.wait_for_load_state("networkidle")
