"""The main job in a real browser, against real processes: from signing up to 500 delivered messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from accounts.models import Workspace
from campaigns.actions.drafts import Plan, create_campaign
from campaigns.models import Campaign, Contact, ContactImport, Message
from config.rehearsal.ledger import Entry, compare, read_ledger
from devices.models import DeviceState
from monitoring.invariants import audit, is_clean
from tests.e2e.conftest import SignedUp
from tests.e2e.steps import (
    SLOW_MS,
    campaign_state,
    figure,
    go_as_fast_as_it_can,
    next_step,
    send_a_test,
    shown,
)
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.browser

GUESTS = Path(__file__).parents[1] / "data" / "guests.csv"
PEOPLE, BAD_ROWS = 500, 5
PROMPT = ("--ack-ms", "20", "--jitter-ms", "0", "--reply-share", "0", "--stop-share", "0")
STOPS_WITHIN_S = 2  # what is promised of pause and cancel
RECEIPT_S = 3
DEVICE_PAGE = re.compile(r"/devices/[0-9a-f-]{36}/$")
Start = Callable[..., Path]


def test_somebody_goes_all_the_way_from_signing_up_to_500_delivered_messages(
    sign_up: Callable[..., SignedUp], start_fleet: Start
) -> None:
    began = time.time()
    ledger = start_fleet(*PROMPT, "--delivered-ms", "200", "--read-ms", "1000")
    page = sign_up("Alice's Shop").page

    expect(page.get_by_role("heading", name="Four steps to your first campaign")).to_be_visible()
    page.get_by_role("link", name="Add a device").click()
    pair_a_device(page, "Front desk")
    go_as_fast_as_it_can(page)
    send_a_test(page)

    page.get_by_role("link", name="Dashboard").click()
    expect(page.get_by_role("heading", name="First steps: 2 of 4 done")).to_be_visible()
    page.get_by_role("link", name="Import contacts").click()
    import_the_guests(page)

    page.get_by_role("link", name="Write them a campaign").click()
    write_a_campaign(page)
    page.get_by_role("button", name=f"Start: {PEOPLE} people").click()
    watch_it_end(page)

    assert shown(page, "Should") == shown(page, "Sent") == PEOPLE
    assert shown(page, "Failed") == shown(page, "Remaining") == shown(page, "Skipped") == 0
    found = audit()
    assert is_clean(found)
    assert found["recipients"] == sum(found["counts"][state] for state in ("sent", "delivered", "read")) == PEOPLE
    verdict, *_ = compare(read_ledger(ledger), began)
    test_and_campaign = 1 + PEOPLE
    assert verdict == {
        "entries": test_and_campaign,
        "duplicates": 0,
        "unknown_to_database": 0,
        "sent_but_absent": 0,
    }

    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator(".home-funnel .figure", has_text="Sent")).to_contain_text(str(PEOPLE))
    expect(page.locator(".home-steps")).to_be_hidden()


def test_pause_and_cancel_stop_the_sending_and_resume_goes_on(sign_in: Callable[..., Page], start_fleet: Start) -> None:
    ledger = start_fleet(*PROMPT, "--delivered-ms", f"{RECEIPT_S * 1000}")
    campaign = draft_for_many(make_workspace(), people=2_000)
    page = sign_in(campaign.workspace.owner)
    page.goto(f"/campaigns/{campaign.uuid}/")
    page.get_by_role("button", name="Start: 2,000 people").click()
    expect(figure(page, "Sent")).to_have_text(re.compile("[1-9]"), timeout=SLOW_MS)

    paused = press(page, "Pause")
    expect(campaign_state(page)).to_have_text("Paused")
    a_test_message_arrives(campaign, page)
    resumed = press(page, "Resume")
    assert resumed.at - paused.at > RECEIPT_S > STOPS_WITHIN_S
    assert not between(ledger, campaign, paused.at + STOPS_WITHIN_S, resumed.asked)

    left_when_paused = shown(page, "Remaining")
    expect(campaign_state(page)).to_have_text("Running")
    expect(figure(page, "Remaining")).not_to_have_text(f"{left_when_paused:,}")

    page.get_by_role("button", name="Cancel the campaign").first.click()
    cancelled = press(page, "Cancel the campaign", inside=page.get_by_role("dialog"))
    expect(campaign_state(page)).to_have_text("Cancelled")
    a_test_message_arrives(campaign, page)
    assert not between(ledger, campaign, cancelled.at + STOPS_WITHIN_S, time.time())

    expect(figure(page, "Remaining")).to_have_text("0")
    sent, skipped = shown(page, "Sent"), shown(page, "Skipped")
    assert sent + skipped + shown(page, "Failed") == shown(page, "Should") == 2_000
    assert min(sent, skipped) > 0
    assert sent == len(between(ledger, campaign, 0, time.time()))
    assert is_clean(audit())
    verdict, *_ = compare(read_ledger(ledger), 0)
    assert not verdict["duplicates"] + verdict["unknown_to_database"] + verdict["sent_but_absent"]


@dataclass(frozen=True, slots=True)
class Press:
    """A button: when it was pressed, and when the answer was here. Unix seconds."""

    asked: float
    at: float


def press(page: Page, name: str, inside: Locator | None = None) -> Press:
    asked = time.time()
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        (inside or page).get_by_role("button", name=name, exact=True).click()
    answer.value.finished()
    assert answer.value.ok
    return Press(asked, time.time())


def draft_for_many(workspace: Workspace, people: int) -> Campaign:
    devices = [make_device(workspace, state=DeviceState.OFFLINE, min_delay=0, max_delay=0) for _ in range(3)]
    Contact.objects.bulk_create(
        Contact(workspace=workspace, phone=f"+6012{number:07d}", name=f"Person {number}", consent_source="Sign-up form")
        for number in range(people)
    )
    plan = Plan("Opening night", "Hello {{ first_name }}", everyone=True, tags=[], devices=devices)
    return create_campaign(workspace, workspace.owner, plan)


def a_test_message_arrives(campaign: Campaign, page: Page) -> None:
    """From another page: it takes RECEIPT_S at least, and shows that a device of the campaign could have sent."""
    other = page.context.new_page()
    other.goto(f"/devices/{campaign.device_links.order_by('pk')[0].device.uuid}/")
    send_a_test(other)
    other.close()


def between(ledger: Path, campaign: Campaign, begin: float, end: float) -> list[Entry]:
    """What the network saw of this campaign in this time."""
    tried = Message.objects.filter(campaign=campaign).values_list("tag", flat=True)
    tags = {bytes(tag).hex() for tag in tried if tag is not None}
    return [entry for entry in read_ledger(ledger) if entry.tag in tags and begin < entry.at < end]


def pair_a_device(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Add and link it").click()
    expect(page.get_by_text(re.compile("outside WhatsApp.s terms"))).to_be_visible()
    expect(page.get_by_text("people who agreed")).to_be_visible()
    page.get_by_label("I understand").check()
    page.get_by_role("button", name="Show the code").click()
    expect(page.get_by_role("img", name="Code to scan with WhatsApp")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Play the phone").click()
    expect(page).to_have_url(DEVICE_PAGE, timeout=SLOW_MS)
    expect(page.locator("#device-header .state")).to_have_text("Online", timeout=SLOW_MS)


def import_the_guests(page: Page) -> None:
    page.get_by_label("CSV file").set_input_files(GUESTS)
    page.get_by_role("button", name="Upload and look at it").click()
    expect(page.get_by_label("What “WhatsApp” holds")).to_have_value("phone")
    expect(page.get_by_label("What “Full name” holds")).to_have_value("name")
    page.get_by_label("Tags for everybody").fill("guests")
    page.get_by_label("They agreed in person or on paper").check()
    page.get_by_label("Where is the proof kept?").fill("cards in folder 7")
    page.get_by_role("button", name="Import these people").click()
    expect(page.locator(".import-head .state")).to_have_text("Done", timeout=SLOW_MS)
    assert (shown(page, "Accepted"), shown(page, "Rejected")) == (PEOPLE, BAD_ROWS)
    expect(page.get_by_text("“see Instagram” is not a phone number")).to_be_visible()
    done = ContactImport.objects.get()
    assert (done.accepted, done.rejected, done.created) == (PEOPLE, BAD_ROWS, PEOPLE)
    page.get_by_role("link", name="See the contacts").click()
    expect(page.get_by_role("heading", name="Contacts")).to_contain_text(str(PEOPLE))
    page.go_back()  # to a whole page, not to the fragment it fetched last
    expect(page.get_by_role("heading", name=GUESTS.name)).to_be_visible()


def write_a_campaign(page: Page) -> None:
    """With a variable put in by its button, as the first person of the audience reads it."""
    page.get_by_label("Name").first.fill("Opening night")
    expect(page.get_by_label("guests").first).to_be_checked()  # they were just imported
    expect(page.locator("#audience")).to_contain_text(f"{PEOPLE} people can be reached")
    next_step(page, "message")
    text = page.get_by_label("Text", exact=True)
    text.fill("Hello ")
    text.press("End")
    page.get_by_role("button", name="First name").click()
    text.press_sequentially(", the doors open at eight.")
    expect(text).to_have_value("Hello {{ first_name }}, the doors open at eight.")
    expect(page.locator(".preview-person")).to_contain_text(f"Contact 1 of {PEOPLE}")
    first_name = page.locator(".preview-person strong").inner_text().split()[0]
    expect(page.locator("#preview .bubble")).to_have_text(f"Hello {first_name}, the doors open at eight.")
    next_step(page, "devices")
    expect(page.get_by_label("Front desk")).to_be_checked()  # there is no other
    next_step(page, "when")
    page.get_by_role("button", name="Save and review").click()
    expect(page.locator("#preview .bubble")).to_have_text(f"Hello {first_name}, the doors open at eight.")


def watch_it_end(page: Page) -> None:
    """Without a reload: a mark put on the document at the start is still there at the end."""
    expect(campaign_state(page)).to_have_text(re.compile("Running|Completed"))
    page.evaluate("document.body.dataset.same = 'yes'")
    expect(campaign_state(page)).to_have_text("Completed", timeout=SLOW_MS)
    expect(page.locator(".funnel-number").nth(1)).to_have_text(str(PEOPLE), timeout=SLOW_MS)
    expect(page.locator("body")).to_have_attribute("data-same", "yes")
