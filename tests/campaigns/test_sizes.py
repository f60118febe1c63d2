"""What the planner believes of a workspace, and when it is told."""

from __future__ import annotations

import pytest

from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.planning import plan_chunk
from campaigns.models import Contact, Message
from campaigns.querysets.sizes import learn_if_unknown
from tests.factories import make_campaign, make_device, make_workspace

pytestmark = pytest.mark.django_db


def test_statistics_are_refreshed_once_where_a_workspace_is_far_larger_than_believed(monkeypatch) -> None:
    monkeypatch.setattr("campaigns.querysets.sizes.FEW", 20)
    learn_if_unknown(make_workspace())
    workspace = make_workspace()
    Contact.objects.bulk_create(Contact(workspace=workspace, phone=f"+60123450{n:03}") for n in range(600))
    assert not learn_if_unknown(make_workspace())
    campaign = make_campaign(workspace, devices=(make_device(workspace),))
    launch_campaign(campaign, None)
    assert plan_chunk(campaign.pk)
    assert Message.objects.filter(campaign=campaign).count() == 600
    assert not learn_if_unknown(workspace)
