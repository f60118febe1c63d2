"""What pages do where there are too many rows to go through: count later, count seldom, and say the same numbers."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.actions.dead_letters import retry_failed
from campaigns.audience import size_of
from campaigns.live import streams_of, unsettled
from campaigns.models import Contact, Message, Stream
from campaigns.querysets.unsettled import Selection, count_dead
from tests.campaigns.campaign_cases import count_again
from tests.campaigns.report_cases import told_campaign
from tests.factories import make_contact

pytestmark = pytest.mark.django_db


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three contacts and one message are many."""
    monkeypatch.setattr("campaigns.querysets.contacts.MANY", 3)
    monkeypatch.setattr("campaigns.views.contacts.COUNTED", 3)
    monkeypatch.setattr("campaigns.views.contacts.PAGE", 2)
    monkeypatch.setattr("campaigns.recipients.LARGE", 0)


@pytest.mark.usefixtures("large")
def test_a_narrowed_list_of_contacts_stands_before_it_is_counted(workspace: Workspace, as_alice: Client) -> None:
    for _ in range(3):
        make_contact(workspace, name="Mei Tan", status="customer")
    make_contact(workspace, name="Ravi")
    contacts = reverse("campaigns:contacts")
    page = as_alice.get(contacts, {"status": "customer"})
    assert page.context["count"] is None
    assert "status=customer&amp;count=1" in page.content.decode()
    assert "3+ found" in as_alice.get(contacts, {"status": "customer", "count": "1"}).content.decode()
    few = as_alice.get(contacts, {"q": "Ravi"})
    assert few.context["count"] == 1
    assert as_alice.get(contacts).context["count"] == 4


@pytest.mark.usefixtures("large")
def test_people_of_a_large_workspace_are_counted_twice_a_minute(workspace: Workspace) -> None:
    for _ in range(3):
        make_contact(workspace)
    people = Contact.objects.for_workspace(workspace)
    assert (people.count_lately(), size_of(people).people) == (3, 3)
    Contact.objects.filter(pk=people[0].pk).update(opted_out_at=timezone.now())
    assert size_of(people).opted_out == 0
    assert people.filter(status="customer").count_lately() == 0
    assert people.none().count_lately() == 0
    for key in cache._cache.get_client().keys("*contacts:*"):  # type: ignore[attr-defined]
        cache._cache.get_client().set(key, b'["7"]')  # type: ignore[attr-defined]
    assert size_of(people).opted_out == 1


def test_people_of_a_small_workspace_are_counted_each_time(workspace: Workspace) -> None:
    people = Contact.objects.for_workspace(workspace)
    make_contact(workspace)
    assert people.count_lately() == 1
    make_contact(workspace)
    assert people.count_lately() == 2


@pytest.mark.usefixtures("large")
def test_a_list_that_no_counter_knows_is_counted_once_it_stands(
    workspace: Workspace, as_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.recipient_pages.PAGE", 2)
    campaign = told_campaign(workspace)
    people = reverse("campaigns:recipients", args=[campaign.uuid])
    for query in ({"figure": "sent", "hour": "9"}, {"figure": "failed", "reason": "refused 479: SmaxInvalid"}):
        page = as_alice.get(people, query)
        assert page.context["total"] is None
        assert len(page.context["rows"]) == 2
        counted = as_alice.get(people, {**query, "count": "1"}).context["total"]
        states = ("sent", "delivered", "read") if query["figure"] == "sent" else ("dead",)
        of_these = Message.objects.filter(campaign=campaign, state__in=states)
        assert counted == of_these.count() > 2
        of_these.update(state="skipped", reason="")
        assert as_alice.get(people, {**query, "count": "1"}).context["total"] == counted  # of half a minute ago
        cache.clear()
        assert as_alice.get(people, {**query, "count": "1"}).context["total"] != counted


@pytest.mark.usefixtures("large")
def test_those_who_have_not_replied_are_all_but_those_who_have(workspace: Workspace, as_alice: Client) -> None:
    campaign = told_campaign(workspace)
    people = reverse("campaigns:recipients", args=[campaign.uuid])
    for figure in ("should", "sent", "read"):
        whole, *parts = (
            as_alice.get(people, {"figure": figure, "replied": replied, "count": "1"}).context["total"]
            for replied in ("", "no", "yes")
        )
        assert whole == sum(parts)
    answered = Message.objects.filter(campaign=campaign, replied_at__isnull=False)
    assert as_alice.get(people, {"replied": "yes", "count": "1"}).context["total"] == answered.count() > 0


def test_retry_asks_with_the_number_that_it_brings_back(workspace: Workspace, alice: User) -> None:
    campaign = told_campaign(workspace)
    dead = Message.objects.filter(campaign=campaign, state="dead").order_by("pk")
    Message.objects.filter(pk=dead[0].pk).update(contact=None, phone="")  # erased
    Message.objects.filter(pk=dead[3].pk).update(contact=None)  # deleted
    Stream.objects.filter(pk=dead[1].stream_id).update(expires_at=timezone.now())
    count_again(campaign)
    for device in (None, dead[2].stream.device):
        asked = count_dead(Selection(campaign, timezone.now(), device))
        assert 0 < asked < 7
        left = unsettled(campaign, streams_of([campaign])[campaign.pk], device)
        assert left is not None
        assert left.retryable == asked
        assert retry_failed(Selection(campaign, timezone.now(), device), alice) == asked
        Message.objects.filter(campaign=campaign, state="pending", attempts=1).update(state="dead")
        count_again(campaign)
