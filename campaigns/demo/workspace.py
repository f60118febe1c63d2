"""The demonstration workspace, made by the very actions that people use; only its past is written, not lived."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from PIL import Image, ImageOps

from accounts.actions import create_workspace
from accounts.models import AuditEntry, User, Workspace
from campaigns.actions.campaigns import finish_campaigns, launch_campaign
from campaigns.actions.direct import send_test
from campaigns.actions.drafts import Changes, Plan, VariantText, create_draft
from campaigns.actions.importing import work_on_import
from campaigns.actions.imports import layout_of, start_import, upload_file
from campaigns.actions.media import keep_file
from campaigns.actions.planning import plan_chunk, plan_whole
from campaigns.actions.replies import ASKED_TO_STOP
from campaigns.actions.segments import save_segment
from campaigns.actions.templates import save_template
from campaigns.actions.watching import pause_failing
from campaigns.demo.past import settle_past
from campaigns.demo.people import File, files
from campaigns.imports.mapping import guess_columns
from campaigns.media import UnusableFile
from campaigns.models import (
    Campaign,
    ConsentEntry,
    ConsentKind,
    Contact,
    ContactImport,
    ContactStatus,
    Message,
    Suppression,
    SuppressionSource,
    Tag,
)
from campaigns.steps import STEPS
from devices.models import Device, DeviceEvent, DeviceState, Host

EMAIL = "demo@flotilla.test"
NAME = "Meridian Coffee"
ZONE, COUNTRY = "America/New_York", "US"
CUSTOMERS, VISITORS = 1_500, 500
EPOCH = 4
NEW_YORK = {
    "match": "all",
    "rules": [
        {"what": "status", "is": "is", "value": "customer"},
        {"what": "field:city", "is": "is", "value": "New York"},
    ],
}
LOCK = 7_301_002  # any number no other advisory lock uses

DEVICES = [
    *(f"Sales New York {number}" for number in range(1, 6)),
    *(f"Sales Toronto {number}" for number in range(1, 4)),
    *(f"Sales West {number}" for number in range(1, 4)),
    "Care New York",
    "Care Toronto",
    "Events 1",
    "Events 2",
]
AUTUMN = """Hi {{ first_name }}, the autumn harvest has arrived: three new {{ favourite_roast | default: "medium" }} \
roasts, fresh from the roastery.

Reply *YES* and we keep a bag for you. Reply STOP to hear no more."""
VIP = """Dear {{ first_name }}, as a {{ plan }} member you may order the reserve a day early, until tonight.

Reply STOP to hear no more."""
TASTING = """Hello {{ first_name }}! We taste the new coffees this Saturday in {{ city }}. Shall we keep a place \
for you?

Reply STOP to hear no more."""
WINTER = """Hi {{ first_name | default: "friend" }}, the *winter blend* is roasted and leaves for {{ city }} this week.

{% if plan == "Pro" %}Your Pro plan includes a free bag.{% else %}The first 50 orders travel for free.{% endif %}

Reply STOP to hear no more."""
AUTUMN_SHORT = """{{ first_name }}, three new {{ favourite_roast | default: "medium" }} roasts are here. Shall we keep \
a bag for you?

Reply STOP to hear no more."""
SURVEY = """Dear {{ first_name }}, how do you like the {{ plan }} plan? One word is enough.

Reply STOP to hear no more."""
CLASS = """Hi {{ first_name | default: "friend" }}, on Sunday we teach how to brew by hand. Reply *COFFEE* to join.

Reply STOP to hear no more."""
OPENING = """Good morning {{ first_name }}, our doors open again on Monday at 8. The first cup is on us.

Reply STOP to hear no more."""
NEWS = """{Hello|Hi|Good morning} {{ first_name | default: "friend" }}, there is a *new coffee*:

* from {{ city | default: "your shop" }} or by post
* until Sunday with a free cup

Reply STOP to hear no more."""
FAIR = """Hello {{ first_name }}, it was good to meet you at the fair. Here is the tasting list you asked for."""


def password_file() -> Path:
    return Path(settings.VAR_DIR) / "demo.txt"


def is_seeded() -> bool:
    return User.objects.filter(email=EMAIL).exists()


@transaction.atomic
def seed() -> bool:
    """Everything in one transaction. False: it was there already, and nothing changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if is_seeded():
        return False
    rng = random.Random(3)  # noqa: S311 - only makes the past look lived in
    owner = make_owner()
    workspace = create_workspace(owner, name=NAME, timezone=ZONE, default_country=COUNTRY)
    Workspace.objects.filter(pk=workspace.pk).update(created_at=days_ago(workspace, 24, 9))
    backdate(f"workspace:{workspace.uuid}", days_ago(workspace, 24, 9))
    devices = link_devices(workspace, owner)
    customers, fair = files(CUSTOMERS, VISITORS)
    run_import(workspace, owner, customers, "Customer who agreed to messages", "Order forms", 23)
    run_import(workspace, owner, fair, "Agreed in person or on paper", "Cards from the stand, folder 7", 12)
    Contact.objects.for_workspace(workspace).filter(fields__has_key="customer_since").update(
        status=ContactStatus.CUSTOMER
    )
    opt_some_out(workspace, rng)
    write_ledger(workspace, owner)
    save_segment(workspace, owner, "Customers in New York", NEW_YORK)
    send_past_test(workspace, owner, devices[0], rng)
    finish_past(workspace, owner, devices, rng)
    need_a_word(workspace, owner, devices, rng)
    write_coming(workspace, owner, devices)
    fill_library(workspace, owner)
    name_host()
    return True


def make_owner() -> User:
    """Its password is drawn here and kept in a file that only this account of the machine can read."""
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(EMAIL, password, first_name="Dana", last_name="Demo")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    path = password_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{EMAIL}\n{password}\n")
    return user


# ---- Devices and people


def name_host() -> None:
    """So that pages and their pictures name the first engine, which takes this id, and not the machine."""
    path = Path(settings.SESSIONS_DIR) / "host.id"
    if path.exists() or Host.objects.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text("host-1")


def link_devices(workspace: Workspace, owner: User) -> list[Device]:
    """Linked simulated numbers (free for films, too), at rest until an engine opens them."""
    linked_at = days_ago(workspace, 24, 10)
    devices = Device.objects.bulk_create(
        Device(
            workspace=workspace,
            name=name,
            phone=f"+1332555{100 + number:04d}",
            state=DeviceState.OFFLINE,
            state_at=linked_at,
            next_send_at=timezone.now(),
            epoch=EPOCH,
            min_delay=1,
            max_delay=3,
            daily_cap=1_000,
        )
        for number, name in enumerate(DEVICES)
    )
    Device.objects.filter(workspace=workspace).update(created_at=linked_at)
    DeviceEvent.objects.bulk_create(
        DeviceEvent(workspace=workspace, device=device, at=linked_at + timedelta(minutes=minutes), kind=kind, detail=by)
        for device in devices
        for minutes, kind, by in ((0, "added", f"by {owner}"), (1, "pairing asked", f"by {owner}"), (2, "online", ""))
    )
    return devices


def run_import(workspace: Workspace, owner: User, file: File, source: str, proof: str, days: int) -> None:
    upload = upload_file(workspace, owner, file.name, BytesIO(file.content))
    columns = guess_columns(layout_of(upload).first, True, COUNTRY)
    start_import(
        upload,
        owner,
        columns=columns,
        header=True,
        country=COUNTRY,
        tags=[file.name.removesuffix(".csv")],
        consent_source=source,
        consent_proof=proof,
    )
    work_on_import(upload.pk)
    at = days_ago(workspace, days, 11)
    soon = at + timedelta(seconds=3)
    ContactImport.objects.filter(pk=upload.pk).update(
        created_at=at, started_at=at, read_at=soon, heartbeat_at=soon, finished_at=soon
    )
    Contact.objects.filter(consent_import=upload).update(created_at=at, updated_at=at, consent_at=at)
    backdate(upload.target, at)


def opt_some_out(workspace: Workspace, rng: random.Random) -> None:
    """Some said so at the counter, before anything was sent; others replied STOP to the first campaign."""
    customers = Contact.objects.for_workspace(workspace).filter(tag_links__tag__name="newsletter").order_by("pk")
    chosen = rng.sample(list(customers.values_list("pk", flat=True)), 23)
    shop, reply = SuppressionSource.PERSON, SuppressionSource.REPLY
    opt_out(workspace, chosen[:14], days_ago(workspace, 20, 15), shop, "asked us in the shop")
    opt_out(workspace, chosen[14:], days_ago(workspace, 9, 14), reply, ASKED_TO_STOP)


def opt_out(workspace: Workspace, people: Sequence[int], at: datetime, source: str, reason: str) -> None:
    contacts = Contact.objects.filter(pk__in=people)
    contacts.update(opted_out_at=at, opted_out_reason=reason)
    Suppression.objects.bulk_create(
        Suppression(workspace=workspace, phone=phone, source=source, reason=reason, created_at=at)
        for phone in contacts.values_list("phone", flat=True)
    )


def write_ledger(workspace: Workspace, owner: User) -> None:
    """Each agreement and withdrawal at its time, as its entries cannot be changed later."""
    ConsentEntry.objects.filter(workspace=workspace).delete()
    entries = [
        ConsentEntry(
            workspace=workspace,
            contact=contact,
            phone=contact.phone,
            kind=ConsentKind.GRANTED,
            source=contact.consent_source,
            proof=contact.consent_import.consent_proof if contact.consent_import else "",
            contact_import=contact.consent_import,
            created_by=owner,
            at=contact.consent_at,
        )
        for contact in Contact.objects.for_workspace(workspace).select_related("consent_import").order_by("pk")
    ]
    contacts = {entry.phone: entry.contact for entry in entries}
    entries += [
        ConsentEntry(
            workspace=workspace,
            contact=contacts[out.phone],
            phone=out.phone,
            kind=ConsentKind.WITHDRAWN,
            source=out.get_source_display(),
            proof=out.reason,
            at=out.created_at,
        )
        for out in Suppression.objects.for_workspace(workspace)
    ]
    ConsentEntry.objects.bulk_create(sorted(entries, key=lambda entry: entry.at))


# ---- Campaigns


def send_past_test(workspace: Workspace, owner: User, device: Device, rng: random.Random) -> None:
    message = send_test(device, "+12125550100", "Hello from Flotilla: can you read this?", owner)
    at = days_ago(workspace, 23, 16)
    Message.objects.filter(pk=message.pk).update(due_at=at)
    backdate(f"device:{device.uuid}", at)
    settle_past(Message.objects.filter(pk=message.pk).select_related("contact", "content"), 1, EPOCH - 3, rng)


def finish_past(workspace: Workspace, owner: User, devices: Sequence[Device], rng: random.Random) -> None:
    """Launched and planned as always, then settled as if the devices had sent it, and finished as always.

    The first with two texts, and with some people held out.
    """
    tested = {"variant_texts": [VariantText(AUTUMN, 50), VariantText(AUTUMN_SHORT, 50)], "hold_out": 10}
    past: list[tuple[str, str, list[str], Sequence[Device], int, int, int, Changes]] = [
        ("Autumn harvest", AUTUMN, ["newsletter"], devices[:12], 20, 9, 10, tested),
        ("Reserve for Pro members", VIP, ["vip"], devices[:5], 30, 5, 14, {}),
        ("Saturday tasting", TASTING, ["coffee-fair"], devices[5:11], 25, 1, 9, {}),
    ]
    for number, (name, text, tags, used, gap, days, hour, more) in enumerate(past):
        at = days_ago(workspace, days, hour)
        campaign = launched(workspace, owner, write(workspace, owner, name, text, tags, used, gap, **more), at)
        ended_at = settle_past(messages_of(campaign), gap, EPOCH - 2 + number, rng) + timedelta(seconds=1)
        finish_campaigns([campaign.pk])
        Campaign.objects.filter(pk=campaign.pk).update(finished_at=ended_at, planned_at=at)
        AuditEntry.objects.filter(target=campaign.target, action="campaign.completed").update(at=ended_at)


def need_a_word(workspace: Workspace, owner: User, devices: Sequence[Device], rng: random.Random) -> None:
    """One that paused itself when too many failed, and one whose first ten were written to and whose others wait."""
    at = days_ago(workspace, 2, 11)
    survey = write(workspace, owner, "Plan survey", SURVEY, ["vip"], devices[:3], 15, stop_failures=10)
    launched(workspace, owner, survey, at)
    ended_at = settle_past(messages_of(survey)[:40], 15, EPOCH, rng, refused=0.3)
    pause_failing()
    AuditEntry.objects.filter(target=survey.target, action="campaign.paused_itself").update(at=ended_at)
    brewing = write(workspace, owner, "Brewing class", CLASS, ["coffee-fair"], devices[11:], 10, canary=10)
    launched(workspace, owner, brewing, days_ago(workspace, 1, 16))
    settle_past(messages_of(brewing), 10, EPOCH, rng)


def launched(workspace: Workspace, owner: User, campaign: Campaign, at: datetime) -> Campaign:
    """Started and planned as always, in the past."""
    launch_campaign(campaign, owner)
    backdate(campaign.target, at)
    AuditEntry.objects.filter(target=campaign.target, action="campaign.created").update(at=at - timedelta(hours=1))
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=at, created_at=at - timedelta(hours=1))
    while not plan_chunk(campaign.pk):
        pass
    return campaign


def messages_of(campaign: Campaign) -> QuerySet[Message]:
    """Those that are to be written; the others were skipped when it was planned."""
    pending = Message.objects.filter(campaign=campaign, state="pending")
    return pending.select_related("contact", "content").order_by("pk")


def write_coming(workspace: Workspace, owner: User, devices: Sequence[Device]) -> None:
    """A draft, one for tomorrow at nine, and one that is under way: it goes on as soon as an engine runs."""
    write(workspace, owner, "After the fair", FAIR, ["coffee-fair"], devices[13:], 0)
    tomorrow = days_ago(workspace, -1, 9)
    launch_campaign(write(workspace, owner, "Doors open", OPENING, ["customers"], devices[:8], 5, tomorrow), owner)
    running = write(workspace, owner, "Winter blend", WINTER, ["newsletter"], devices[:12], 10)
    launch_campaign(running, owner)
    plan_whole(running.pk)


def fill_library(workspace: Workspace, owner: User) -> None:
    """Two files and two templates; where files can't be checked there are none."""
    crema = BytesIO()
    ImageOps.colorize(Image.linear_gradient("L").resize((1200, 800)), "#3b2314", "#e8c39e").save(crema, "JPEG")
    prices = b"Winter prices\n\nHouse blend 250 g: 12.00\nReserve 250 g: 19.00\n"
    kept = []
    for name, data in (("winter-blend.jpg", crema.getvalue()), ("winter-prices.txt", prices)):
        try:
            kept.append(keep_file(workspace, owner, name, len(data), BytesIO(data), kept=True))
        except UnusableFile:
            return
    save_template(workspace, owner, "New coffee", NEWS, kept[0])
    save_template(workspace, owner, "Price list", "Here are this season's prices.", kept[1])


def write(
    workspace: Workspace,
    owner: User,
    name: str,
    text: str,
    tags: Sequence[str],
    devices: Sequence[Device],
    gap: float,
    start_at: datetime | None = None,
    **more: Any,
) -> Campaign:
    """``more``: further `Changes`."""
    chosen = Tag.objects.for_workspace(workspace).filter(name__in=tags)
    plan = Plan(name, text, everyone=False, tags=chosen, devices=devices, start_at=start_at, min_delay=gap)
    campaign, _ = create_draft(workspace, owner, uuid4(), plan.changes() | more, steps_done=len(STEPS))
    return campaign


# ---- Time


def days_ago(workspace: Workspace, days: int, hour: int) -> datetime:
    """That hour of the workspace's wall clock, so many days before today; negative days lie ahead."""
    today = timezone.now().astimezone(workspace.zone).date()
    return datetime.combine(today - timedelta(days=days), time(hour), workspace.zone)


def backdate(target: str, at: datetime) -> None:
    AuditEntry.objects.filter(target=target).update(at=at)
