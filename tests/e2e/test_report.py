"""The report in a browser while a campaign sends: each figure leads to a list of just so many people."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Workspace
from campaigns import outbox
from campaigns.models import Campaign
from campaigns.outbox import Claimed
from devices.hosting import leases
from devices.hosting.leases import Lease
from devices.models import Device
from tests.campaigns.outbox_cases import ask, owned_device, running_campaign, sent
from tests.e2e.steps import shown
from tests.factories import make_contact, make_workspace

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ENDS: tuple[dict[str, str], ...] = (
    {},
    {"state": "dead", "reason": "refused 479: SmaxInvalid"},
    {},
    {"state": "uncertain", "reason": "timed out"},
    {},
)


class Sending:
    """What an engine does, a few messages at a time, by its own statements."""

    def __init__(self, lease: Lease, devices: list[Device]) -> None:
        self.lease, self.devices, self.number = lease, devices, 0

    def go_on(self) -> None:
        for device in self.devices:
            for claimed in outbox.claim(self.lease, ask(device)):
                if isinstance(claimed, Claimed):
                    end = ENDS[self.number % len(ENDS)]
                    outbox.settle([sent(claimed, device, **{"at": datetime.now(UTC).timestamp(), **end})])
                    self.number += 1


def sending_campaign(workspace: Workspace) -> tuple[Campaign, Sending]:
    lease = leases.begin("here", ["simulator"], leases.LeaseTimes())
    devices = [owned_device(workspace, lease) for _ in range(2)]
    make_contact(workspace, opted_out_at=datetime.now(UTC))
    return running_campaign(workspace, devices, people=39), Sending(lease, devices)


def rows(page: Page) -> int:
    return page.locator("table.recipients > tbody > tr").count()


def title_count(page: Page) -> int:
    return int(page.locator(".page-head-count").inner_text())


def counts_of(answer: str) -> tuple[int, int]:
    """What the title of a list of people says, and how many rows it has; read without drawing it, as they are many."""
    title = re.search(r'page-head-count">\s*([\d,]+)', answer)
    return int(title[1].replace(",", "")) if title else -1, answer.count('class="recipient-name"')


def test_13_every_figure_is_the_length_of_its_list_also_while_it_sends(sign_in: Callable[..., Page]) -> None:
    workspace = make_workspace()
    campaign, sending = sending_campaign(workspace)
    page = sign_in(workspace.owner)
    report = f"/campaigns/{campaign.uuid}/report/"
    for figure in ("Sent", "Failed", "Remaining", "Skipped", "Uncertain"):
        for _ in range(3):
            sending.go_on()
        page.goto(report)
        sending.go_on()
        page.get_by_role("link", name=re.compile(rf"^{figure}")).first.click()
        expect(page.get_by_role("heading", name=re.compile(rf"^{figure}: "))).to_be_visible()
        assert title_count(page) == rows(page) > 0
        expect(page.locator(".chip.active span")).to_have_text(str(rows(page)))

    page.goto(report)
    expect(page.get_by_role("heading", name="Why people got nothing")).to_be_visible()
    assert shown(page, "Failed") + shown(page, "Uncertain") > 0
    links = page.locator("main a[href*='/recipients/?']").evaluate_all(
        "links => links.map(link => [link.getAttribute('href'), link.textContent])"
    )
    numbers = {url: int(text) for url, text in links if text.strip().isdigit()}
    assert {"figure", "device", "reason", "hour"} <= {key for url in numbers for key in re.findall(r"[?&](\w+)=", url)}
    for url, number in numbers.items():
        assert counts_of(page.request.get(url).text()) == (number, number), url
