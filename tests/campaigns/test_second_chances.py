"""A message that is to be sent again is spared when the first one turns out to have arrived."""

from __future__ import annotations

import time

import pytest
from django.utils import timezone

from campaigns import outbox
from campaigns.actions.doubts import send_again
from campaigns.models import Message, Uncertain
from campaigns.outbox import Held, ReceiptRow, Settlement
from campaigns.querysets.unsettled import Selection
from devices.hosting import leases
from devices.hosting.leases import LeaseTimes
from monitoring.invariants import audit, is_clean
from tests.campaigns.outbox_cases import ask, assert_counters_are_true, claim_one, owned_device, running_campaign
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("kind", ["delivered", "read"])
def test_what_waits_for_its_second_chance_does_not_leave_when_the_first_one_arrived(kind: str) -> None:
    make_workspace()
    workspace = make_workspace()
    lease = leases.begin("here", ["simulator"], LeaseTimes())
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    first = claim_one(lease, device)
    common = (device.pk, device.epoch, first.message)
    outbox.settle([Settlement(*common, first.tag, "uncertain", "timed out", "Hello", 0.0)])
    outbox.note_evidence(device.pk, {first.tag: "first"})
    assert Uncertain.objects.count() == 1
    assert send_again(Selection(campaign, timezone.now()), None) == 1
    second = claim_one(lease, device)
    outbox.settle([Settlement(*common, second.tag, "waiting", "not connected", None, 0.0, retry_in=0.0)])
    outbox.settle_receipts([ReceiptRow(device.pk, "first", "chat@lid", kind, time.time())])
    assert Message.objects.get(pk=first.message).state == kind
    answer = outbox.claim(lease, ask(device))[0]
    assert isinstance(answer, Held), answer
    assert_counters_are_true(campaign)
    assert is_clean(audit()), audit()["violations"]
