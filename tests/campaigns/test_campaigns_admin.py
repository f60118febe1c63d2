"""The admin of campaigns: every model listed, searchable and openable by staff, without counting whole tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User
from campaigns.models import (
    Attempt,
    CampaignSegment,
    CheckRun,
    ConsentEntry,
    ContactChange,
    ContactImport,
    ContactMove,
    CustomField,
    DayMeter,
    Erasure,
    GlobalSuppression,
    HourMeter,
    ImportChunk,
    ImportReject,
    ImportRow,
    Message,
    MeterTotal,
    MinuteMeter,
    NumberCheck,
    Reply,
    Suppression,
    Tag,
    Uncertain,
    Variant,
    WireId,
)
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_contact, make_media, make_segment, make_template, make_user, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def a_row_of_everything() -> None:
    workspace = make_workspace()
    make_contact(workspace, tags=("vip",))
    campaign = planned_campaign(workspace, media=make_media(workspace))
    campaign.tag_links.create(workspace=workspace, tag=Tag.objects.get())
    message = Message.objects.first()
    assert message is not None
    CampaignSegment.objects.create(workspace=workspace, campaign=campaign, segment=make_segment(workspace))
    Variant.objects.create(workspace=workspace, campaign=campaign, number=1, content=campaign.content, share=100)
    make_template(workspace)
    CustomField.objects.create(workspace=workspace, name="City")
    ContactChange.objects.create(workspace=workspace, deed="delete", selection={}, up_to=1, expected=1)
    tried: dict[str, Any] = {"workspace": workspace, "message": message, "device_id": message.stream.device_id}
    now = timezone.now()
    Attempt.objects.create(**tried, number=1, tag=b"t", epoch=1, started_at=now)
    Uncertain.objects.create(**tried, phone=message.phone, tag=b"t", began_at=now)
    Suppression.objects.create(workspace=workspace, phone=message.phone, source="person")
    GlobalSuppression.objects.create(phone=message.phone, reason="Asked the operator")
    ConsentEntry.objects.create(workspace=workspace, phone=message.phone, kind="granted", source="In the shop")
    Erasure.objects.create(workspace=workspace, digest="60")
    WireId.objects.create(workspace=workspace, device_id=1, wire_id="A", message_id=message.pk)
    device = message.stream.device
    Reply.objects.create(workspace=workspace, device=device, wire_id="B", at=now, text="Yes", phone=message.phone)
    NumberCheck.objects.create(workspace=workspace, phone=message.phone, on_whatsapp=True)
    CheckRun.objects.create(workspace=workspace, total=1)
    ContactMove.objects.create(workspace=workspace, source=device, target=device, expected=1)
    imported = ContactImport.objects.create(workspace=workspace, filename="people.csv")
    ImportChunk.objects.create(workspace=workspace, contact_import=imported, number=0, data=b"x")
    ImportRow.objects.create(workspace=workspace, contact_import=imported, phone="+60", name="Ann", tags="")
    ImportReject.objects.create(workspace=workspace, contact_import=imported, row=1, line=2, reason="No number")
    for meter in (MinuteMeter, HourMeter, DayMeter):
        meter.objects.create(workspace=workspace, device=device, start=now)
    MeterTotal.objects.create(workspace=workspace, device=device)


@pytest.mark.parametrize("name", sorted(model.__name__ for model in apps.get_app_config("campaigns").get_models()))
def test_every_model_is_listed_searched_and_opened(name: str, staff: Client) -> None:
    model = apps.get_model("campaigns", name)
    label = model._meta.model_name
    listed = reverse(f"admin:campaigns_{label}_changelist")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert staff.get(listed).status_code == 200
    assert len(asked) < 15
    assert staff.get(listed, {"q": "60"}).status_code == 200
    row = model.objects.first()
    assert staff.get(reverse(f"admin:campaigns_{label}_change", args=[row.pk])).status_code == 200


def test_the_message_list_never_counts_the_whole_table(staff: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        staff.get(reverse("admin:campaigns_message_changelist"))
    counts = [query["sql"] for query in asked if "COUNT(" in query["sql"] and "campaigns_message" in query["sql"]]
    assert all("LIMIT" in sql for sql in counts)


def test_what_statements_keep_consistent_cannot_be_edited_by_hand() -> None:
    request = RequestFactory().get("/")
    request.user = make_user(is_staff=True, is_superuser=True)
    for name in ("Message", "Stream", "Campaign", "Attempt", "WireId", "Content"):
        page = admin.site.get_model_admin(apps.get_model("campaigns", name))
        assert not page.has_change_permission(request)
        assert not page.has_delete_permission(request)


def test_staff_take_a_number_off_for_all_workspaces_and_it_is_noted(staff: Client) -> None:
    GlobalSuppression.objects.all().delete()
    add = reverse("admin:campaigns_globalsuppression_add")
    for bad in ("012-345 6789", "+60", "+1 800 FLOWERS"):
        assert staff.post(add, {"phone": bad, "reason": "A court says so"}).status_code == 200
    staff.post(add, {"phone": "+60 12-345 6789", "reason": "A court says so"})
    suppression = GlobalSuppression.objects.get()
    assert (suppression.phone, suppression.created_by) == ("+60123456789", User.objects.get(is_staff=True))
    listed = reverse("admin:campaigns_globalsuppression_changelist")
    staff.post(listed, {"action": "delete_selected", "_selected_action": [suppression.pk], "post": "yes"})
    assert not GlobalSuppression.objects.exists()
    noted = AuditEntry.objects.filter(action__startswith="suppression.").order_by("pk")
    assert list(noted.values_list("action", "target", "detail__reason")) == [
        ("suppression.added_everywhere", "number:+601******89", "A court says so"),
        ("suppression.removed_everywhere", "number:+601******89", "A court says so"),
    ]
