"""The demonstration workspace: worth looking at, true to every invariant, made once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time as clock
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.core.management import call_command
from django.db import transaction
from django.db.models import Count, F, Max, Q, Sum
from django.test import override_settings
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import User, Workspace
from campaigns.demo.people import BAD_ROWS
from campaigns.demo.workspace import EMAIL, VISITORS, make_owner, password_file
from campaigns.engine.lifecycle import FIGURES
from campaigns.models import (
    Attempt,
    Campaign,
    ConsentEntry,
    Contact,
    ContactImport,
    DayMeter,
    HourMeter,
    Lane,
    Media,
    Message,
    MeterTotal,
    Reply,
    Segment,
    Stream,
    Template,
    WireId,
)
from devices.hosting.leases import HostId
from devices.models import Device
from monitoring.invariants import audit, is_clean
from monitoring.overview import overview

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Seeded:
    """What the command said, and for how many seconds it worked; waiting for others does not count."""

    said: list[str]
    seconds: float


@pytest.fixture(scope="module")
def seeded(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seeded]:
    """One seeding for all tests of this module: each works in a savepoint on top of it."""
    var = tmp_path_factory.mktemp("demo")
    places = override_settings(VAR_DIR=var, SESSIONS_DIR=var / "sessions")
    with places, django_db_blocker.unblock(), transaction.atomic():
        began = time.process_time()
        said = seed_by_command()
        yield Seeded(said, time.process_time() - began)
        transaction.set_rollback(True)


@pytest.fixture
def workspace(seeded: Seeded) -> Workspace:
    return Workspace.objects.get(owner__email=EMAIL)


def seed_by_command() -> list[str]:
    said = StringIO()
    call_command("seed_demo", stdout=said)
    return said.getvalue().splitlines()


def test_the_command_ends_with_a_sign_in_that_works(seeded: Seeded, client) -> None:
    email, password = seeded.said[-2].split()[-1], seeded.said[-1].split()[-1]
    assert client.login(email=email, password=password)
    assert client.get("/dashboard").status_code == 200
    owner = User.objects.get(email=email)
    assert not owner.is_staff
    assert not owner.is_superuser
    assert password_file().stat().st_mode & 0o777 == 0o600


def test_a_second_seeding_changes_nothing_and_says_how_to_sign_in(seeded: Seeded) -> None:
    before = [model.objects.count() for model in (User, Device, Contact, Campaign, Message)]
    second = seed_by_command()
    assert "is there already; nothing changed" in second[0]
    assert second[-2:] == seeded.said[-2:]
    assert [model.objects.count() for model in (User, Device, Contact, Campaign, Message)] == before


def test_each_installation_draws_its_own_password(workspace: Workspace, settings, tmp_path: Path) -> None:
    first = password_file().read_text()
    settings.VAR_DIR = tmp_path
    EmailAddress.objects.filter(user=workspace.owner).delete()
    User.objects.filter(pk=workspace.owner_id).update(email="of-another-installation@example.com")
    make_owner()
    assert password_file().read_text() != first


def test_a_lost_password_file_is_said_in_place_of_the_password(seeded: Seeded, settings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    assert "changepassword" in seed_by_command()[-1]


def test_its_first_engine_is_not_named_after_the_machine(seeded: Seeded, settings) -> None:
    assert HostId(Path(settings.SESSIONS_DIR)).value == "host-1"


def test_it_takes_seconds(seeded: Seeded) -> None:
    assert seeded.seconds < 10


def test_the_ledger_is_clean(workspace: Workspace) -> None:
    found = audit()
    assert found["violations"] == []
    assert found["drift"] == 0
    assert found["open_attempts"] == 0
    assert is_clean(found)
    for campaign in Campaign.objects.for_workspace(workspace).filter(launched_at__isnull=False):
        assert campaign.recipients == Message.objects.filter(campaign=campaign).count() >= 10


def test_what_there_is_to_look_at(workspace: Workspace) -> None:
    devices = Device.objects.for_workspace(workspace)
    assert devices.linked().count() == len({device.name for device in devices}) == 15
    contacts = Contact.objects.for_workspace(workspace)
    assert contacts.count() == 2_000
    assert not contacts.filter(Q(consent_source="") | Q(tag_links=None) | ~Q(fields__has_key="city")).exists()
    assert contacts.values("name").distinct().count() > 500
    assert 10 <= contacts.opted_out().count() <= 40
    states = Campaign.objects.for_workspace(workspace).values_list("state").annotate(Count("pk"))
    assert dict(states) == {"completed": 3, "running": 2, "paused": 1, "scheduled": 1, "draft": 1}
    assert Segment.objects.for_workspace(workspace).count() == 1
    survey = Campaign.objects.for_workspace(workspace).get(state="paused")
    assert "failed: more than 10 %" in survey.paused_why
    ledger = ConsentEntry.objects.for_workspace(workspace)
    assert list(ledger.order_by("pk").values_list("pk")) == list(ledger.order_by("at", "pk").values_list("pk"))
    assert ledger.count() == contacts.count() + contacts.opted_out().count()
    assert Template.objects.for_workspace(workspace).count() == Media.objects.for_workspace(workspace).count() == 2
    fair = ContactImport.objects.for_workspace(workspace).get(filename="coffee-fair.csv")
    assert (fair.state, fair.accepted, fair.rejected) == ("done", VISITORS, len(BAD_ROWS))
    assert fair.rejects.count() == len(BAD_ROWS)


def test_home_shows_work_and_no_first_steps(workspace: Workspace) -> None:
    home = overview(workspace)
    assert home["steps"] == []
    assert {campaign.state for campaign, _ in home["rows"]} == {"running", "paused", "scheduled"}


def test_the_running_campaign_is_planned_and_ready_to_leave(workspace: Workspace) -> None:
    running = Campaign.objects.for_workspace(workspace).get(name="Winter blend")
    assert running.planned_at
    streams = Stream.objects.filter(campaign=running)
    assert 300 < sum(stream.pending for stream in streams) == running.recipients < 1_200
    assert not streams.exclude(running=True, next_due__lte=timezone.now()).exists()


def test_one_waits_for_a_word_after_its_first_few(workspace: Workspace) -> None:
    waiting = Campaign.objects.for_workspace(workspace).get(name="Brewing class")
    assert waiting.awaits_word
    assert waiting.canary == 10
    assert waiting.awaiting_word > 400


def test_one_is_scheduled_for_tomorrow_at_nine_in_the_workspaces_zone(workspace: Workspace) -> None:
    scheduled = Campaign.objects.for_workspace(workspace).get(state="scheduled")
    assert scheduled.start_at
    at, today = scheduled.start_at.astimezone(workspace.zone), timezone.now().astimezone(workspace.zone).date()
    assert (at.date(), at.time()) == (today + timedelta(days=1), clock(9))


def test_the_past_is_what_an_engine_would_have_left(workspace: Workspace) -> None:
    past = Message.objects.filter(campaign__isnull=False).exclude(state="pending")
    sent = past.filter(state__in=FIGURES["sent"])
    assert set(past.values_list("state", flat=True)) == {"sent", "delivered", "read", "dead", "skipped"}
    assert not sent.filter(Q(tag=None) | Q(text=None) | Q(sent_at=None) | Q(wire_id=None) | Q(epoch=None)).exists()
    assert not past.filter(attempted_at__lt=timezone.now() - timedelta(days=10)).exists()
    skipped = past.filter(state="skipped", attempts=0)
    assert skipped.count() == past.filter(state="skipped").count()
    assert not skipped.exclude(Q(reason="hold_out") | Q(contact__opted_out_at__isnull=False)).exists()
    in_order = Q(attempted_at__lt=timezone.now()) & Q(replied_at__isnull=True) | Q(replied_at__lt=timezone.now())
    assert not sent.exclude(in_order).exists()
    replied = past.filter(replied_at__isnull=False)
    assert set(Reply.objects.values_list("message", "at")) == set(replied.values_list("pk", "replied_at"))
    assert Reply.objects.filter(text="STOP").count() == replied.filter(contact__opted_out_at=F("replied_at")).count()
    wired = Message.objects.exclude(wire_id=None)
    assert WireId.objects.for_workspace(workspace).count() == wired.count() == sent.count() + 1  # and the test message
    earlier = Attempt.objects.for_workspace(workspace)
    assert earlier.count() == Message.objects.filter(attempts=2).count() > 0
    for campaign in Campaign.objects.filter(state="completed"):
        last = campaign.messages.aggregate(last=Max("attempted_at"))["last"]
        assert campaign.launched_at
        assert campaign.finished_at
        assert campaign.launched_at < last < campaign.finished_at < timezone.now()
        assert campaign.streams.filter(replied__gt=0).exists()
    assert Stream.objects.get(workspace=workspace, lane=Lane.DIRECT).pending == 0


def test_the_meters_of_the_past_are_those_of_its_messages(seeded: Seeded) -> None:
    steps = {"sent": "sent_at", "delivered": "delivered_at", "replied": "replied_at"}
    true = Message.objects.aggregate(failed=Count("pk", Q(state="dead")), **{k: Count(v) for k, v in steps.items()})
    assert min(true.values()) > 0
    for meter in (HourMeter, DayMeter, MeterTotal):
        assert meter.objects.aggregate(**{step: Sum(step) for step in true}) == true, meter
    times = HourMeter.objects.values_list("times", flat=True)
    assert sum(map(sum, times)) == true["sent"]
    assert sum(HourMeter.objects.values_list("time_ms", flat=True)) >= 200 * true["sent"]
