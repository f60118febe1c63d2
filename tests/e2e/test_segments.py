"""Alice builds a segment in a real browser, sees whom it describes while she builds, and tags exactly those."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from campaigns.models import Contact, Segment
from tests.factories import make_contact, make_workspace

pytestmark = pytest.mark.browser


def test_a_segment_counts_while_it_is_built_and_its_people_are_tagged(sign_in) -> None:
    workspace = make_workspace()
    for number in range(7):
        make_contact(workspace, name=f"Person {number}", fields={"city": "Ipoh" if number else "Kuala Lumpur"})
    page = sign_in(workspace.owner)
    page.goto("/contacts/segments/")
    page.get_by_role("link", name="New segment").click()
    page.get_by_label("Name", exact=True).fill("Ipoh")
    page.get_by_label("What condition 1 is about").select_option("field:city")
    page.get_by_label("How condition 1 compares").select_option("contains")
    expect(page.get_by_label("How condition 1 compares")).to_have_value("contains")
    page.get_by_label("Value of condition 1").fill("ipo")
    expect(page.locator(".segment-count")).to_have_text("6 people now")
    expect(page.locator(".segment-people li")).to_have_count(5)
    page.get_by_role("button", name="Add a condition").click()
    expect(page.locator(".segment-row")).to_have_count(2)
    page.get_by_role("button", name="Remove condition 2").click()
    expect(page.locator(".segment-row")).to_have_count(1)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="6", exact=True).click()
    expect(page.locator(".chip.active")).to_contain_text("Segment Ipoh")
    page.get_by_label("Tick everybody on this page").check()
    expect(page.locator("[data-ticked]")).to_have_text("6 ticked")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".confirm-people")).to_contain_text("6 people")
    page.get_by_label("Tag").fill("north")
    page.get_by_role("button", name="Add a tag").click()
    expect(page.locator("#messages")).to_contain_text("6 people got the tag “north”.")
    assert Contact.objects.filter(workspace=workspace, tag_links__tag__name="north").count() == 6
    assert Segment.objects.get().name == "Ipoh"
