"""P1: whoever is told that it is done can rely on it, whatever dies next."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import Workspace
from tests.factories import make_campaign, make_contact, make_device

pytestmark = pytest.mark.django_db(transaction=True)


def committed(question: str) -> object:
    """What another connection is told: nothing but what is committed."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]
    finally:
        other.close()


def test_p1_a_start_a_test_message_and_an_import_are_committed_before_they_are_answered(
    workspace: Workspace, as_alice: Client
) -> None:
    device = make_device(workspace)
    make_contact(workspace)
    campaign = make_campaign(workspace, devices=(device,))
    started = as_alice.post(reverse("campaigns:start", args=[campaign.uuid]), {"version": campaign.version})
    sent = as_alice.post(
        reverse("campaigns:send_device_test", args=[device.uuid]), {"phone": "+60123456789", "text": "Hello"}
    )
    file = SimpleUploadedFile("people.csv", b"phone\n+60123456780\n")
    imported = as_alice.post(reverse("campaigns:import_upload"), {"file": file})
    assert {answer.status_code // 100 for answer in (started, sent, imported)} <= {2, 3}
    assert committed(f"SELECT state FROM campaigns_campaign WHERE id = {campaign.pk}") == "running"
    assert committed("SELECT count(*) FROM campaigns_message WHERE campaign_id IS NULL") == 1
    assert committed("SELECT count(*) FROM campaigns_contactimport") == 1
