"""Sessions on their way from disk to disk, between real engines: handed over, or saved from a machine that is gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from devices.gateway.session_file import Head, SessionFile
from devices.models import Device, Host, SessionVault
from monitoring.invariants import audit, is_clean
from tests.devices.gateway.world import SimulatedWorld
from tests.devices.hosting.engine_process import ROOT, EngineProcess, Machine, until
from tests.devices.hosting.test_engine_process import launch, left, make_devices
from tests.factories import make_device, make_host, make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
KEY = Fernet.generate_key().decode()
VAULT = {"VAULT_KEYS": KEY, "VAULT_EVERY_S": "1"}


@pytest.fixture
def machine(world: SimulatedWorld, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(world, tmp_path)
    yield machine
    machine.close()


def path_on(engine: EngineProcess, device: Device) -> Path:
    return engine.disk / f"simulator-{device.pk}.session"


def session_on(engine: EngineProcess, device: Device) -> Head:
    """As it lies there, whoever has it open."""
    copy = engine.disk / "looked-at"
    shutil.copy(path_on(engine, device), copy)
    session = SessionFile.claim(copy)
    session.close()
    copy.unlink()
    assert session.head is not None
    return session.head


def copied(device: Device) -> bool:
    return SessionVault.objects.filter(device=device, sealed__isnull=False).exists()


def test_p7_a_session_survives_hand_over_the_loss_of_a_disk_and_coming_back_to_a_stale_file(machine: Machine) -> None:
    [device] = make_devices(1)
    first = machine.engine("a", **VAULT).start_up()
    until(lambda: first.online() == 1, "it is online with the first host")
    made = session_on(first, device)

    second = machine.engine("b", **VAULT).start_up()
    call_command("drain", host=first.host)
    until(lambda: second.online() == 1, "it is online with the second host")
    assert session_on(second, device) == made  # handed over: its keys go on
    campaign = launch([device], people=2)
    until(lambda: left(campaign) == 2, "the second host sends with it")
    until(lambda: copied(device), "there is a copy")

    call_command("drain", host=first.host, undo=True)
    stale = SessionFile.open(path_on(first, device))
    stale.write(Head(made.phone, "the session that was", made.keys))
    stale.close()
    second.kill()
    shutil.rmtree(second.disk)
    until(lambda: first.online() == 1, "it is online with the first host again")
    saved = session_on(first, device)
    assert (saved.phone, saved.session) == (made.phone, made.session)  # nobody scanned again
    assert saved.keys != made.keys  # and no ratchet of the copy is used again
    campaign = launch([device], people=2)
    until(lambda: left(campaign) == 2, "the first host sends with it")
    assert is_clean(audit()), audit()


def test_a_session_is_copied_soon_after_it_was_made_and_readable_by_its_owner_alone(machine: Machine) -> None:
    [device] = make_devices(1)
    engine = machine.engine("a", **VAULT).start_up()
    until(lambda: copied(device), "there is a copy")
    assert engine.stop() == 0
    assert not list(engine.disk.glob("*.snapshot"))
    assert path_on(engine, device).stat().st_mode & 0o777 == 0o600
    assert KEY not in engine.said
    assert "no copies" not in engine.said


def test_without_keys_the_engine_says_that_no_copies_are_kept(machine: Machine) -> None:
    [device] = make_devices(1)
    engine = machine.engine("a", VAULT_KEYS="").start_up()
    until(lambda: engine.online() == 1, "it is online")
    assert "no copies of sessions are kept" in engine.said
    assert not copied(device)


@pytest.mark.parametrize("keys", ["", "no key at all"])
def test_real_sessions_are_never_served_without_keys(machine: Machine, keys: str) -> None:
    engine = machine.engine("a", VAULT_KEYS=keys, DRIVERS="simulator,whatsapp")
    assert engine.start().process.wait(30) == 2
    [line] = engine.said.strip().splitlines()
    assert "VAULT_KEYS" in line
    assert not keys or keys not in line


# ---- drain


def test_drain_waits_for_messages_under_way_and_hands_every_device_over(machine: Machine) -> None:
    devices = make_devices(6)
    first = machine.engine("a", **VAULT).start_up()
    until(lambda: first.online() == 6, "they are online with the first host")
    campaign = launch(devices, people=60)
    second = machine.engine("b", **VAULT).start_up()
    command = [sys.executable, "manage.py", "drain"]  # on the machine itself: SESSIONS_DIR names the host
    done = subprocess.run(
        command, cwd=ROOT, env=first._environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "devices to hand over." in done.stdout
    assert not Device.objects.filter(owner_id=first.host).exists()
    until(lambda: second.online() == 6, "they are online with the second host")
    until(lambda: left(campaign) == 60, "everything is sent")
    assert not campaign.messages.filter(state="uncertain").exists()
    assert is_clean(audit()), audit()
    assert first.stop() == 0


def test_a_retiring_host_takes_nothing_until_that_is_undone(machine: Machine) -> None:
    first = machine.engine("a", **VAULT).start_up()
    call_command("drain", host=first.host)
    make_devices(1)
    until(lambda: Host.objects.get(pk=first.host).meters.get("online") == 0, "its heart beats")
    assert first.online() == 0
    call_command("drain", host=first.host, undo=True)
    until(lambda: first.online() == 1, "it takes the device")


def test_a_host_that_does_not_run_is_not_drained() -> None:
    gone = make_host(lease_until="2026-01-01T00:00:00Z")
    stopped = make_host(heartbeat_at="2026-01-01T00:00:00Z")
    make_device(make_workspace(), owner=gone)
    for host in ("nobody", gone.pk, stopped.pk):
        with pytest.raises(CommandError, match="No running engine") as refused:
            call_command("drain", host=host)
        assert refused.value.returncode == 2
