"""Home in a browser: it follows what happens without a reload, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.live import push
from accounts.models import Workspace
from campaigns.models import Campaign, Lane, Stream
from tests.e2e.conftest import PHONE
from tests.factories import make_campaign, make_device, make_host, make_workspace

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]


def running_stream(workspace: Workspace) -> Stream:
    device = make_device(workspace, owner=make_host(), name="Shop 1")
    campaign = make_campaign(
        workspace, devices=(device,), name="Spring sale", state="running", launched_at=timezone.now()
    )
    return Stream.objects.create(
        workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, running=True, pending=40
    )


def test_a_hint_shows_what_changed_and_leaves_the_rest_alone(sign_in: SignIn) -> None:
    workspace = make_workspace()
    stream = running_stream(workspace)
    page = sign_in(workspace.owner)
    page.goto("/dashboard")
    expect(page.locator("[data-live-word]")).to_have_text("live")
    sent = page.locator(".home-funnel .figure", has_text="Sent").locator(".figure-value")
    expect(sent).to_have_text("0")
    all_campaigns = page.get_by_role("link", name="All campaigns")
    all_campaigns.focus()

    for count in (7, 1_234):  # the second hint comes while the first one's region may still be under way
        Stream.objects.filter(pk=stream.pk).update(sent=count, dead=count // 1_000)
        push(workspace, "home", "monitoring/_home_hint.html")

    expect(sent).to_have_text("1,234", timeout=5_000)
    expect(page.get_by_text("Spring sale: 1 message failed")).to_be_visible()
    expect(page.locator(".campaign-table td.number").first).to_have_text("1,234")
    expect(all_campaigns).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_home_fits_a_phone(sign_in: SignIn, scheme: str) -> None:
    workspace = make_workspace(name="A workspace with quite a long name for a phone")
    stream = running_stream(workspace)
    Stream.objects.filter(pk=stream.pk).update(sent=123_456, dead=12)
    page = sign_in(workspace.owner, viewport=PHONE, color_scheme=scheme)
    page.goto("/dashboard")
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    main = page.locator("main").bounding_box()
    assert main
    for box in page.locator("#home section, #home .figure, #home .btn").all():
        place = box.bounding_box()
        assert place
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= PHONE["width"]


def test_home_asks_for_a_word_and_the_button_gives_it(sign_in: SignIn) -> None:
    workspace = make_workspace()
    campaign = running_stream(workspace).campaign
    assert campaign
    Campaign.objects.filter(pk=campaign.pk).update(canary=3, awaiting_word=1_200, plan_last=0)
    page = sign_in(workspace.owner)
    page.goto("/dashboard")
    expect(page.get_by_text("Spring sale: 1,200 people wait for your word")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(f"**/campaigns/{campaign.uuid}/")
    expect(page.get_by_role("heading", name="Spring sale")).to_be_visible()
    campaign.refresh_from_db()
    assert campaign.canary_passed_at is not None
