"""The opt-out link: whoever has it stops all messages with one press, and nobody else changes anything by it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import throttle
from accounts.models import AuditEntry, LoginThrottle, Workspace
from campaigns.actions.erasing import erase_contact
from campaigns.actions.suppression import suppress
from campaigns.compose import TextError
from campaigns.models import ConsentEntry, Contact, GlobalSuppression, Message, Suppression, SuppressionSource
from campaigns.opt_out import UNUSABLE, contact_of, link_for, problem_in, token_for
from campaigns.outbox import claim
from campaigns.sender import render
from devices.hosting.leases import Lease
from monitoring.invariants import audit, is_clean
from tests.campaigns.outbox_cases import ask, claim_one, owned_device, running_campaign
from tests.factories import make_contact, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person(workspace: Workspace) -> Contact:
    contact = make_contact(workspace, phone="+60123456789", name="Siti")
    contact.refresh_from_db()
    return contact


@pytest.fixture
def site_url(settings: Any) -> None:
    settings.SITE_URL, settings.SITE_URL_IS_SET = "https://flotilla.example", True


def page(contact: Contact) -> str:
    return reverse("campaigns:opt_out", args=[token_for(contact.uuid)])


def shown(url: str) -> str:
    return Client().get(url).content.decode()


def rows() -> list[list[Any]]:
    kept: list[Any] = [Contact, Suppression, ConsentEntry, AuditEntry, LoginThrottle, Message]
    return [list(model.objects.order_by("pk").values()) for model in kept]


# ---- tokens


def test_a_token_is_short_and_made_of_letters_and_digits_and_leads_back() -> None:
    for made in [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), *(uuid.uuid4() for _ in range(50))]:
        token = token_for(made)
        assert len(token) <= 45
        assert token.replace(".", "").isalnum()
        assert contact_of(token) == made


def test_a_token_outlives_a_change_of_the_key(settings: Any) -> None:
    made = uuid.uuid4()
    token = token_for(made)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert contact_of(token) == made
    settings.SECRET_KEY_FALLBACKS = []
    assert contact_of(token) is None


def test_p18_hostile_tokens_meet_a_friendly_page_and_no_database(person: Contact) -> None:
    token = token_for(person.uuid)
    name, _, signature = token.partition(".")
    other = token_for(make_contact(make_workspace()).uuid or uuid.uuid4()).partition(".")[2]
    hostile = [
        name, f"{name}.", f".{signature}", f"{name}.{other}", token[:-1], token + "0", token.swapcase(),
        f"{person.uuid}.{signature}", str(person.uuid), "..", "%00", "a" * 3000, "'; DROP TABLE x", "💣.💣",
        f"{token} ",
    ]  # fmt: skip
    before = rows()
    for bad in hostile:
        url = reverse("campaigns:opt_out", args=[bad]) if "%" not in bad else f"/o/{bad}"
        for answer in (Client().get(url), Client().post(url, {"choice": "stop"})):
            assert answer.status_code == 404, bad
            assert "This link is not complete" in answer.content.decode()
    assert rows() == before


def test_p18_a_token_reaches_its_own_workspace_only(workspace: Workspace, person: Contact) -> None:
    theirs = make_contact(make_workspace(name="Elsewhere"), phone=person.phone)
    theirs.refresh_from_db()
    Client().post(page(theirs), {"choice": "stop", "workspace": workspace.pk, "contact": person.pk})
    assert Suppression.objects.get().workspace == theirs.workspace
    person.refresh_from_db()
    assert person.opted_out_at is None
    assert "Alice" not in shown(page(theirs))


# ---- looking


def test_looking_changes_nothing_whoever_looks_and_however_often(person: Contact) -> None:
    before = rows()
    for agent in ("WhatsApp/2.23.20.0", "facebookexternalhit/1.1", "Mozilla/5.0"):
        for method in ("get", "head"):
            answer = getattr(Client(), method)(f"{page(person)}?choice=stop", headers={"user-agent": agent})
            assert answer.status_code == 200
            assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
            assert "no-store" in answer.headers["Cache-Control"]
    for method in ("put", "delete", "patch", "options"):
        assert getattr(Client(), method)(page(person)).status_code == 405
    assert rows() == before


def test_the_page_says_who_writes_and_hides_the_number_and_the_name(person: Contact) -> None:
    found = shown(page(person))
    assert "Messages from Alice&#x27;s shop" in found
    assert "+601******89" in found
    assert person.phone[1:] not in found
    assert "Siti" not in found


def test_a_choice_needs_the_token_of_the_form(person: Contact) -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.post(page(person), {"choice": "stop"}).status_code == 403
    assert not Suppression.objects.exists()
    browser.get(page(person))
    sent = {"choice": "stop", "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    assert browser.post(page(person), sent).status_code == 302
    assert Suppression.objects.exists()


# ---- choosing


def test_p9_a_stop_by_the_link_holds_from_its_answer(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    gone, other = Contact.objects.for_workspace(workspace).order_by("pk")
    assert Client().post(page(gone), {"choice": "stop"}).status_code == 302
    assert claim_one(lease, device).phone == other.phone
    assert Message.objects.get(campaign=campaign, contact=gone).state == "skipped"
    suppression = Suppression.objects.get()
    assert (suppression.phone, suppression.source, suppression.created_by) == (gone.phone, "link", None)
    entry = ConsentEntry.objects.get()
    assert (entry.contact, entry.kind, entry.source) == (gone, "withdrawn", "Their opt-out link")
    gone.refresh_from_db()
    assert gone.opted_out_at is not None
    assert is_clean(audit()), audit()


def test_fifty_presses_at_once_are_one(person: Contact) -> None:
    def press(_: int) -> int:
        try:
            return Client().post(page(person), {"choice": "stop"}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(press, range(50))) == {302}
    assert Suppression.objects.count() == 1
    assert ConsentEntry.objects.count() == 1
    assert AuditEntry.objects.filter(action="contact.opted_out").count() == 1


def test_whoever_stopped_here_may_start_again_here(person: Contact) -> None:
    Client().post(page(person), {"choice": "stop"})
    assert "You get no more messages" in shown(page(person))
    assert "Start again" in shown(page(person))
    Client().post(page(person), {"choice": "start"})
    person.refresh_from_db()
    assert (person.opted_out_at, person.consent_source) == (None, "Their own choice on the opt-out page")
    assert not Suppression.objects.exists()
    kinds = ConsentEntry.objects.order_by("pk").values_list("kind", "created_by")
    assert list(kinds) == [("withdrawn", None), ("granted", None)]
    assert "Stop all messages" in shown(page(person))


@pytest.mark.parametrize("source", [SuppressionSource.REPLY, SuppressionSource.PERSON, SuppressionSource.IMPORT])
def test_what_was_not_stopped_here_is_not_started_here(workspace: Workspace, person: Contact, source: str) -> None:
    suppress(workspace, person.phone, source, "said so", None)
    Client().post(page(person), {"choice": "stop"})  # the link is no way around the first opt-out
    assert "Start again" not in shown(page(person))
    Client().post(page(person), {"choice": "start"})
    assert Suppression.objects.get().source == source


def test_whom_staff_took_off_for_everybody_is_told_so_and_cannot_start(person: Contact) -> None:
    GlobalSuppression.objects.create(phone=person.phone, reason="Not to be shown")
    found = shown(page(person))
    assert "You get no more messages" in found
    assert "Not to be shown" not in found
    assert "Start again" not in found


def test_silence_lasts_thirty_days_and_may_be_ended_or_become_a_stop(person: Contact) -> None:
    for _ in range(2):
        Client().post(page(person), {"choice": "silence"})
    person.refresh_from_db()
    assert person.paused_until is not None
    assert timedelta(days=29) < person.paused_until - timezone.now() <= timedelta(days=30)
    assert AuditEntry.objects.filter(action="contact.silenced").count() == 1
    found = shown(page(person))
    assert f"Silent until {person.paused_until.astimezone(person.workspace.zone):%-d %B %Y}" in found
    assert "No messages for 30 days" not in found
    Client().post(page(person), {"choice": "start"})
    person.refresh_from_db()
    assert person.paused_until is None
    assert not ConsentEntry.objects.exists()  # they never withdrew


@pytest.mark.parametrize("choice", ["", "STOP", "stop\0", "start"])
def test_an_unknown_choice_changes_nothing(person: Contact, choice: str) -> None:
    Client().post(page(person), {"choice": choice})
    assert not Suppression.objects.exists()
    assert not ConsentEntry.objects.exists()


def test_choices_are_limited_by_source_and_nothing_else_is(person: Contact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "CHOICES_PER_SOURCE", 2)
    for _ in range(2):
        Client().post(page(person), {"choice": "nothing"})
    answer = Client().post(page(person), {"choice": "stop"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "900")
    assert "answer the message with STOP" in answer.content.decode()
    assert not Suppression.objects.exists()
    assert Client().get(page(person)).status_code == 200
    assert throttle.take_try("alice@example.com", "127.0.0.1")
    assert Client().post(page(person), {"choice": "stop"}, REMOTE_ADDR="203.0.113.7").status_code == 302


def test_after_an_erase_the_link_still_opens_and_names_nobody(workspace: Workspace, person: Contact) -> None:
    url = page(person)
    assert erase_contact(person, workspace.owner)
    before = rows()[:4]
    for answer in (Client().get(url), Client().post(url, {"choice": "stop"})):
        assert answer.status_code == 200
        assert "Nobody is behind this link any more" in answer.content.decode()
        assert "Alice" not in answer.content.decode()
    assert rows()[:4] == before


# ---- in a message


@pytest.mark.usefixtures("site_url")
def test_a_message_carries_the_link_of_its_own_reader(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    campaign.content.__class__.objects.filter(pk=campaign.content_id).update(text="Stop: {{ opt_out_link }}")
    contact = Contact.objects.for_workspace(workspace).get()
    claimed = claim_one(lease, device)
    assert claimed.contact == contact.uuid
    assert render(claimed) == f"Stop: {link_for(contact.uuid)}"
    assert link_for(contact.uuid) == f"https://flotilla.example{page(contact)}"
    assert claim(lease, ask(device))  # and a device that waits is answered as before


def test_without_a_known_address_a_text_cannot_use_the_link() -> None:
    assert problem_in("Stop: {{ opt_out_link }}") == UNUSABLE
    assert problem_in("{% if opt_out_link %}x{% endif %}") == UNUSABLE
    assert problem_in("The words opt_out_link") == ""
    with pytest.raises(TextError):
        problem_in("{{ opt_out_link")


@pytest.mark.usefixtures("site_url")
def test_with_a_known_address_it_can() -> None:
    assert problem_in("Stop: {{ opt_out_link }}") == ""
