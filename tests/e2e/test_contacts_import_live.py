"""Alice imports a file in a real browser and watches it end without a reload."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from campaigns.models import Contact, ContactImport
from tests.e2e.conftest import PHONE
from tests.factories import make_workspace

pytestmark = pytest.mark.browser

MESSY = Path(__file__).parents[1] / "data" / "contacts_messy.csv"


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}], ids=["desk", "phone"])
def test_an_import_goes_from_the_empty_list_to_its_rejected_rows_live(sign_in, site, options) -> None:
    workspace = make_workspace()
    page = sign_in(workspace.owner, **options)
    page.goto("/contacts/")
    page.get_by_role("link", name="Import a file").click()
    page.get_by_label("CSV file").set_input_files(MESSY)
    page.get_by_role("button", name="Upload and look at it").click()
    expect(page.get_by_label("What “Phone No.” holds")).to_have_value("phone")
    expect(page.get_by_label("Field name of “City”")).to_have_value("city")
    expect(page.get_by_label("Field name of “Phone No.”")).to_be_hidden()
    page.get_by_label("They wrote to us first").check()
    page.get_by_label("Tags for everybody in this file").fill("autumn")
    page.get_by_role("button", name="Import these people").click()
    expect(page.locator(".import-head .state")).to_have_text("Queued")
    expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    page.evaluate("document.body.dataset.same = 'yes'")
    site.start("work", "imports")
    expect(page.locator(".import-head .state")).to_have_text("Done", timeout=30_000)
    expect(page.locator("body")).to_have_attribute("data-same", "yes")
    expect(page.locator(".figure", has_text="New contacts")).to_contain_text("2,639")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all 141").click()
    rows = download.value.path().read_text("utf-8-sig").splitlines()
    assert rows[0] == "Line,Reason,Full Name,Phone No.,City,Tags"
    page.get_by_role("link", name="See the contacts").click()
    expect(page.get_by_role("heading", name="Contacts")).to_contain_text("2,639")
    assert Contact.objects.for_workspace(workspace).count() == 2639
    assert ContactImport.objects.get(workspace=workspace).created == 2639
