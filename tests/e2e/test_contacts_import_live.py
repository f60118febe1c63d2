"""Alice imports a file and a workbook in a real browser and watches them end without a reload."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import expect

from campaigns.models import Contact, ContactImport
from tests.e2e.conftest import DESK, PHONE
from tests.factories import make_workspace
from tests.workbooks import make_xlsx

pytestmark = pytest.mark.browser

MESSY = Path(__file__).parents[1] / "data" / "contacts_messy.csv"
PEOPLE = [["Name", "Mobile", "Born"]] + [[f"Ana {i}", 60198760000 + i, date(1990, 1, 31)] for i in range(300)]


def test_imports_go_from_the_empty_list_to_their_rejected_rows_live_and_one_is_undone(sign_in, site) -> None:
    """A file on a phone; then a workbook at a desk, dry first, and undone."""
    workspace = make_workspace()
    page = sign_in(workspace.owner, viewport=PHONE)
    page.goto("/contacts/")
    page.get_by_role("link", name="Import a file").click()
    page.get_by_label("CSV file or workbook").set_input_files(MESSY)
    page.get_by_role("button", name="Upload and look at it").click()
    expect(page.get_by_label("What “Phone No.” holds")).to_have_value("phone")
    expect(page.get_by_label("Field name of “City”")).to_have_value("city")
    expect(page.get_by_label("Field name of “Phone No.”")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_label("They wrote to us first").check()
    page.get_by_label("Where is the proof kept?").fill("folder 7")
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

    page.set_viewport_size(DESK)
    page.goto("/contacts/imports/new/")
    workbook = {"name": "fair.xlsx", "mimeType": "", "buffer": make_xlsx({"Notes": [["x"]], "Visitors": PEOPLE})}
    page.get_by_label("CSV file or workbook").set_input_files(workbook)
    page.get_by_role("button", name="Upload and look at it").click()
    page.get_by_role("link", name="Choose the sheet").click(timeout=30_000)
    page.get_by_label("Visitors").check()
    page.get_by_role("button", name="Open this sheet").click()
    page.get_by_role("link", name="Go on: what its columns hold").click(timeout=30_000)
    expect(page.get_by_label("What “Mobile” holds")).to_have_value("phone")
    expect(page.locator(".mapping-cells", has_text="1990-01-31")).to_be_visible()
    page.get_by_label("Agreed in person or on paper").check()
    page.get_by_label("Where is the proof kept?").fill("cards of the fair")
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".import-head .state")).to_have_text("Dry run", timeout=30_000)
    expect(page.locator(".figure", has_text="Would be new")).to_contain_text("300")
    assert Contact.objects.for_workspace(workspace).count() == 2639
    page.get_by_role("button", name="Import these people now").click()
    expect(page.locator(".import-head .state")).to_have_text("Done", timeout=30_000)
    assert Contact.objects.for_workspace(workspace).count() == 2939
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Remove them").click()
    expect(page.locator(".import-head")).to_contain_text("300 of 300 new contacts removed.", timeout=30_000)
    assert Contact.objects.for_workspace(workspace).count() == 2639
