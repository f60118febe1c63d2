"""What open pages hear of campaigns: both partials, once for all viewers, after the commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.live import group_name
from campaigns.actions.campaigns import pause_campaign
from campaigns.live import push_campaigns, topic
from campaigns.models import Campaign
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def campaign() -> Campaign:
    make_workspace()
    return planned_campaign(make_workspace(), people=4)


class Page:
    """Hears what the sockets of one workspace's pages would hear."""

    def __init__(self, campaign: Campaign) -> None:
        layers: Any = settings.CHANNEL_LAYERS
        prefix = layers["default"]["CONFIG"]["prefix"]
        self.line = redis.Redis.from_url(settings.REDIS_URL).pubsub()
        for name in ("campaigns", topic(campaign)):
            self.line.subscribe(f"{prefix}__group__{group_name(campaign.workspace_id, name)}")
        for _ in range(2):
            assert self.line.get_message(timeout=5)

    def heard(self) -> list[str]:
        found = []
        while message := self.line.get_message(timeout=0.5):
            found.append(get_channel_layer().deserialize(message["data"])["html"])
        return found


@pytest.fixture
def page(campaign: Campaign) -> Iterator[Page]:
    listening = Page(campaign)
    yield listening
    listening.line.close()


def test_a_move_is_heard_by_the_page_and_the_list_as_it_was_committed(campaign: Campaign, page: Page) -> None:
    with transaction.atomic():
        assert pause_campaign(campaign, campaign.workspace.owner)
        assert page.heard() == []
    live, row = sorted(page.heard(), key=len, reverse=True)
    assert 'id="campaign-live"' in live
    assert f'id="campaign-{campaign.uuid}"' in row
    for html in (live, row):
        assert 'hx-swap-oob="true"' in html
        assert "Paused" in html
        assert "csrf" not in html


def test_a_rollback_is_not_heard(campaign: Campaign, page: Page) -> None:
    with transaction.atomic():
        pause_campaign(campaign, campaign.workspace.owner)
        transaction.set_rollback(True)
    assert page.heard() == []


def test_where_nobody_listens_nothing_is_looked_up(campaign: Campaign) -> None:
    with CaptureQueriesContext(connection) as asked:
        push_campaigns([campaign.pk])
    assert len(asked) == 1


def test_what_is_asked_of_the_database_does_not_grow_with_people(campaign: Campaign) -> None:
    counts = []
    for one in (campaign, planned_campaign(campaign.workspace, people=40)):
        listening = Page(one)
        with CaptureQueriesContext(connection) as asked:
            push_campaigns([one.pk])
        assert not any("campaigns_message" in query["sql"] for query in asked)
        counts.append(len(asked))
        assert len(listening.heard()) == 2
        listening.line.close()
    assert counts[0] == counts[1] <= 5


def test_a_campaign_that_is_gone_is_no_error(campaign: Campaign) -> None:
    push_campaigns([campaign.pk + 1_000_000])
