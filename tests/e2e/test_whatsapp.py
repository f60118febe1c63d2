"""The main job with real WhatsApp sessions: the unmodified library, before a stand-in for WhatsApp's servers."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from campaigns.actions.drafts import Plan, create_campaign
from campaigns.models import Campaign, Contact, Message, Reply, Uncertain
from config.rehearsal.measure import children_of
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.e2e.conftest import ROOT, SignedUp, Site, running, served
from tests.e2e.steps import SLOW_MS, campaign_state, figure, go_as_fast_as_it_can, send_a_test, shown
from tests.whatsapp_loopback.control import Control

pytestmark = pytest.mark.browser

PEOPLE = 50
NUMBER = "60123000001"
SHORT_LEASES = {"LEASE_TTL": "4", "LEASE_RENEW": "1", "LEASE_STOP_AFTER": "2", "LEASE_EXIT_AFTER": "3"}
PATIENCE_S = 60.0
KILLS = 2  # each may take along the news that somebody has read one


@pytest.fixture(scope="module")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation whose devices are real."""
    with served(tmp_path_factory.mktemp("site"), DRIVERS="whatsapp") as site:
        yield site


@dataclass
class Loopback:
    control: Control
    env: dict[str, str]
    ledger: Path

    def messages_to(self, recipient: str) -> list[dict[str, Any]]:
        return [message for message in self.control.messages() if f"+{message['recipient']}" == recipient]


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("loopback")
    argv = [sys.executable, "-m", "tests.whatsapp_loopback", "--work", str(folder / "work")]
    argv += ["--ledger", str(folder / "ledger")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        yield Loopback(Control(ready["port"]), ready["env"], folder / "ledger")
        server.terminate()


@dataclass
class Machine:
    """A machine with one engine; ``disk`` holds its host's id and the session files."""

    disk: Path
    env: dict[str, str]
    stack: ExitStack
    engine: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        engine = [sys.executable, "manage.py", "run_engine"]
        env = {**self.env, "SESSIONS_DIR": str(self.disk)}
        self.engine = self.stack.enter_context(running(engine, env, self.disk.with_suffix(".log")))

    def gateways(self) -> list[int]:
        assert self.engine is not None
        return children_of([self.engine.pid])[self.engine.pid]

    def kill(self) -> None:
        assert self.engine is not None
        self.engine.kill()
        self.engine.wait()


@pytest.fixture
def machines(
    site: Site, loopback: Loopback, transactional_db: None, tmp_path: Path
) -> Iterator[Callable[[str], Machine]]:
    """All that runs beside the web, and a machine with an engine for each name that is asked for."""
    keys = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    manage = [sys.executable, "manage.py"]
    with ExitStack() as stack:
        for name, words in {
            "worker": ["work", "clock", "planning", "webhooks"],
            "files": ["work", "imports", "exports"],
            "clock": ["run_clock"],
        }.items():
            stack.enter_context(running([*manage, *words], site.env, tmp_path / name))

        def machine(name: str) -> Machine:
            env = {**site.env, **loopback.env, **SHORT_LEASES, "VAULT_KEYS": keys}
            made = Machine(tmp_path / name, env, stack)
            made.start()
            return made

        yield machine


def test_p4_p5_p7_real_sessions_send_and_receive_survive_kills_and_move_without_a_new_scan(
    sign_up: Callable[..., SignedUp], machines: Callable[[str], Machine], loopback: Loopback
) -> None:
    alice = sign_up("Alice's Shop")
    page, first = alice.page, machines("first")
    page.get_by_role("link", name="Add a device").click()
    pair_by_scanning(page, loopback)
    device_page = page.url
    go_as_fast_as_it_can(page)
    send_a_test(page)

    campaign, people = draft(alice)
    refused, silent, leaves, thanks = people[3:5], people[10], people[20], people[30]
    loopback.control.rules(
        rules=[
            *({"recipient": number(person), "ack_error": 405} for person in refused),
            {"recipient": number(silent), "ack": False},
            {"recipient": number(leaves), "reply": "STOP"},
            {"recipient": "*7", "read": 0.1},
        ]
    )
    page.goto(f"/campaigns/{campaign.uuid}/")
    page.get_by_role("button", name=f"Start: {PEOPLE} people").click()

    until(lambda: bool(loopback.messages_to(silent.phone)), "the message that nobody acknowledges has left")
    for gateway in first.gateways():
        os.kill(gateway, signal.SIGKILL)
    expect(figure(page, "Sent")).to_have_text(re.compile(r"^[34]\d$"), timeout=SLOW_MS)
    first.kill()
    first.start()
    expect(figure(page, "Remaining")).to_have_text("0", timeout=SLOW_MS)
    loopback.control.receipt(
        phone=NUMBER, sender=number(silent), ids=[loopback.messages_to(silent.phone)[-1]["id"]], kind=None
    )
    expect(campaign_state(page)).to_have_text("Completed", timeout=SLOW_MS)
    until(lambda: everybody_heard_once(loopback, campaign), "the database knows of everybody who heard")
    in_doubt = Uncertain.objects.count()  # at most the one that had not left when the engine was killed
    assert in_doubt <= 1
    expect(figure(page, "Sent")).to_have_text(f"{PEOPLE - len(refused) - in_doubt}", timeout=SLOW_MS)
    assert (shown(page, "Should"), shown(page, "Failed"), shown(page, "Skipped")) == (PEOPLE, len(refused), 0)

    until(lambda: Contact.objects.get(pk=leaves.pk).opted_out_at is not None, "who wrote STOP is opted out")
    page.goto(f"/contacts/{Contact.objects.get(pk=leaves.pk).uuid}/")
    expect(page.get_by_text("Opted out").first).to_be_visible()
    until(lambda: len(loopback.messages_to(leaves.phone)) == 2, "STOP is confirmed, once")
    loopback.control.text(phone=NUMBER, sender=number(thanks), text="See you there")  # a kill may take an answer along
    until(lambda: Reply.objects.filter(contact=thanks).exists(), "the answer is known")
    page.goto(f"/campaigns/{campaign.uuid}/")
    expect(page.locator(".funnel-number[href$='figure=replied']")).to_have_text("2")
    read = Message.objects.filter(campaign=campaign, state="read")
    asked_to_read = {person.pk for person in people if person.phone.endswith("7")}
    until(lambda: len(asked_to_read - set(read.values_list("contact", flat=True))) <= KILLS, "what was read is known")
    assert is_clean(audit()), audit()["violations"]

    first.kill()
    shutil.rmtree(first.disk)
    machines("second")
    page.goto(device_page)
    expect(state_of_device(page)).to_have_text("Online", timeout=SLOW_MS)
    assert Device.objects.get().epoch > 1
    before = len(loopback.ledger.read_text().splitlines())
    send_a_test(page)
    until(lambda: len(loopback.ledger.read_text().splitlines()) == before + 1, "it is decrypted")


def pair_by_scanning(page: Page, loopback: Loopback) -> None:
    """As a phone does: by looking at the screen."""
    page.get_by_label("Name").fill("Front desk")
    page.get_by_role("button", name="Add and link it").click()
    page.get_by_label("I understand").check()
    page.get_by_role("button", name="Show the code").click()
    code = page.get_by_role("img", name="Code to scan with WhatsApp")
    expect(code).to_be_visible(timeout=SLOW_MS)
    [seen] = zxingcpp.read_barcodes(Image.open(BytesIO(code.screenshot())))
    loopback.control.scan(qr=seen.text, phone=NUMBER)
    expect(page).to_have_url(re.compile(r"/devices/[0-9a-f-]{36}/$"), timeout=SLOW_MS)
    expect(state_of_device(page)).to_have_text("Online", timeout=SLOW_MS)
    assert Device.objects.get().phone == f"+{NUMBER}"


def draft(alice: SignedUp) -> tuple[Campaign, list[Contact]]:
    workspace = alice.user.owned_workspace
    people = Contact.objects.bulk_create(
        Contact(workspace=workspace, phone=f"+6013{n:07d}", name=f"Person {n}", consent_source="Sign-up form")
        for n in range(PEOPLE)
    )
    plan = Plan("Opening night", "Hello {{ first_name }}", everyone=True, tags=[], devices=[Device.objects.get()])
    return create_campaign(workspace, alice.user, plan), people


def everybody_heard_once(loopback: Loopback, campaign: Campaign) -> bool:
    """By what the phones decrypted: a message id each, with the tag of an attempt that the database knows as sent."""
    tags = {bytes(message.tag or b"").hex(): message.state for message in Message.objects.filter(campaign=campaign)}
    heard = [entry.split()[3] for entry in loopback.ledger.read_text().splitlines()]
    heard = [tag for tag in heard if tag in tags]
    assert len(heard) == len(set(heard))
    return set(heard) == {tag for tag, state in tags.items() if state in ("sent", "delivered", "read")}


def state_of_device(page: Page) -> Locator:
    return page.locator("#device-header .state")


def number(contact: Contact) -> str:
    return contact.phone.lstrip("+")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.1)
