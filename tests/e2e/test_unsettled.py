"""Dead letters in a browser: what the dialog showed is what is retried, whatever failed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from campaigns.live import push_campaigns
from campaigns.models import Campaign, Message
from tests.campaigns.campaign_cases import count_again, planned_campaign
from tests.factories import make_workspace

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def fail(campaign: Campaign, message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(state="dead", reason="refused 463", attempted_at=timezone.now())
    count_again(campaign)


def test_14_a_dialog_that_is_open_while_more_fails_retries_what_it_shows(sign_in: Callable[..., Page]) -> None:
    workspace = make_workspace()
    campaign = planned_campaign(workspace, people=4, devices=1)
    everybody = list(Message.objects.filter(campaign=campaign).order_by("pk"))

    fail(campaign, everybody[0])
    page = sign_in(workspace.owner)
    page.goto(f"/campaigns/{campaign.uuid}/")
    expect(page.locator("[data-live-word]")).to_have_text("live")
    page.get_by_role("button", name="Retry failed (1)").click()
    dialog = page.get_by_role("dialog", name="Retry what failed?")
    expect(dialog.get_by_text("This touches 1 person.")).to_be_visible()

    for message in everybody[1:3]:
        fail(campaign, message)
    push_campaigns([campaign.pk])
    expect(dialog.get_by_text("This touches 1 person.")).to_be_visible()
    dialog.get_by_role("button", name="Retry failed").click()

    expect(page.get_by_text("1 message that had failed will be tried again.")).to_be_visible()
    page.get_by_role("button", name="Retry failed (2)").click()
    expect(dialog.get_by_text("This touches 2 people.")).to_be_visible()
    states = dict(Message.objects.filter(campaign=campaign).values_list("pk", "state"))
    assert [states[message.pk] for message in everybody] == ["pending", "dead", "dead", "pending"]


def test_a_page_that_fetches_itself_anew_leaves_an_open_dialog_and_catches_up_once_it_is_closed(
    sign_in: Callable[..., Page],
) -> None:
    workspace = make_workspace()
    campaign = planned_campaign(workspace, people=2, devices=1)
    first, second = Message.objects.filter(campaign=campaign).order_by("pk")
    fail(campaign, first)
    page = sign_in(workspace.owner)
    address = f"/campaigns/{campaign.uuid}/"
    page.goto(address)
    expect(page.locator("[data-live-word]")).to_have_text("live")
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Retry failed (1)").click()
    dialog = page.get_by_role("dialog", name="Retry what failed?")
    fail(campaign, second)
    with page.expect_response(lambda answer: answer.url.endswith(address) and answer.request.method == "GET"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('htmx:wsOpen', {detail: {}}))")
    page.wait_for_load_state("networkidle")
    expect(dialog.get_by_text("This touches 1 person.")).to_be_visible()
    dialog.get_by_role("button", name="Keep it as it is").click()
    expect(page.get_by_role("button", name="Retry failed (2)")).to_be_visible()
