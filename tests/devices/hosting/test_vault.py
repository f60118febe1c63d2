"""The vault against real PostgreSQL and disks: which file is used, when a copy takes its place, and who may see it."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import ProgrammingError

from accounts.tenancy import tenant_scope
from devices.hosting import leases, session_files
from devices.hosting.leases import Lease, LeaseTimes, OwnedDevice
from devices.hosting.sealing import Seal
from devices.hosting.states import Report, record
from devices.hosting.vault import CANNOT_OPEN, Vault, bring, keep
from devices.models import Device, SessionVault
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)
KEY = Fernet.generate_key().decode()
SECRET = b"the identity key of a session"


@pytest.fixture
def seal() -> Seal:
    return Seal([KEY])


class Disk:
    """One host's, with its lease."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host = host
        self.folder = folder
        folder.mkdir()
        self.lease: Lease = leases.begin(host, ["simulator"], LeaseTimes())

    def path(self, device: OwnedDevice) -> Path:
        return session_files.path_of(self.folder, device.driver, device.id)

    def write(self, device: OwnedDevice, data: bytes) -> Path:
        self.path(device).write_bytes(data)
        return self.path(device)

    def own(self, device: Device) -> OwnedDevice:
        """Take the device, from whoever has it."""
        epoch = Device.objects.get(pk=device.pk).epoch + 1
        Device.objects.filter(pk=device.pk).update(owner=self.host, epoch=epoch)
        [owned] = [owned for owned in leases.assigned(self.lease) if owned.id == device.pk]
        return owned

    def copy(self, device: OwnedDevice, seal: Seal, data: bytes, *, clean: bool = False) -> bool:
        path = self.folder / "a.snapshot"
        path.write_bytes(data)
        return keep(self.host, seal, device, path, clean)


@pytest.fixture
def device() -> Device:
    return make_device(make_workspace(), state="connecting")


@pytest.fixture
def here(tmp_path: Path) -> Disk:
    return Disk("here", tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Disk:
    return Disk("there", tmp_path / "there")


def row(device: Device) -> SessionVault:
    return SessionVault.objects.get(device=device)


def test_a_file_that_nobody_has_copied_yet_is_used_and_its_disk_noted(here: Disk, seal: Seal, device: Device) -> None:
    owned = here.own(device)
    path = here.write(owned, b"as it is")
    brought = bring("here", here.folder, seal, [owned])
    assert (brought.fresh, brought.failed, brought.without_copy) == ({owned.id: False}, {}, {owned.id})
    assert path.read_bytes() == b"as it is"
    assert (row(device).host, row(device).is_clean, row(device).sealed) == ("here", False, None)


def test_the_disk_that_has_the_session_uses_its_own_file_also_after_a_crash(
    here: Disk, seal: Seal, device: Device
) -> None:
    owned = here.own(device)
    here.copy(owned, seal, b"an older copy")
    path = here.write(owned, b"as it is now")
    assert bring("here", here.folder, seal, [here.own(device)]).fresh == {owned.id: False}
    assert path.read_bytes() == b"as it is now"


def test_another_disk_gets_the_copy_and_fresh_keys_until_they_are_confirmed(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    here.copy(here.own(device), seal, SECRET)
    owned = there.own(device)
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: True}
    path = there.path(owned)
    assert path.read_bytes() == SECRET
    assert path.stat().st_mode & 0o777 == 0o600
    assert (row(device).host, row(device).is_clean) == ("there", False)
    # The gateway died before it opened the session: its keys are still those of the copy.
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: True}
    session_files.refreshed(path)
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: False}


def test_what_was_handed_over_is_opened_as_it_is_and_clean_no_longer(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    here.copy(here.own(device), seal, SECRET, clean=True)
    owned = there.own(device)
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: False}
    assert (row(device).host, row(device).is_clean) == ("there", False)


def test_the_host_that_handed_over_may_open_it_again_and_the_copy_is_clean_no_longer(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    owned = here.own(device)
    here.write(owned, SECRET)
    here.copy(owned, seal, SECRET, clean=True)
    assert bring("here", here.folder, seal, [here.own(device)]).fresh == {owned.id: False}
    owned = there.own(device)
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: True}


def test_a_stale_file_and_what_lies_beside_it_are_never_used(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    owned = there.own(device)
    path = there.write(owned, b"stale")
    wal = path.with_name(path.name + "-wal")
    wal.write_bytes(b"stale, too")
    here.copy(here.own(device), seal, SECRET)
    bring("there", there.folder, seal, [there.own(device)])
    assert path.read_bytes() == SECRET
    assert not wal.exists()


def test_a_stale_file_is_not_used_for_want_of_a_copy_either(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    path = there.write(there.own(device), b"stale")
    bring("here", here.folder, None, [here.own(device)])
    owned = there.own(device)
    assert bring("there", there.folder, None, [owned]).fresh == {owned.id: False}
    assert not path.exists()


def test_a_disk_that_lost_its_file_gets_the_copy(here: Disk, seal: Seal, device: Device) -> None:
    owned = here.own(device)
    here.copy(owned, seal, SECRET)
    assert bring("here", here.folder, seal, [owned]).fresh == {owned.id: True}
    assert here.path(owned).read_bytes() == SECRET


def test_a_session_that_lies_here_closed_is_copied_with_what_lies_beside_it(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    owned = here.own(device)
    path = here.write(owned, SECRET)
    path.with_name(path.name + "-wal").write_bytes(b"the latest")
    assert keep("here", seal, owned, path, True)
    there_now = there.own(device)
    bring("there", there.folder, seal, [there_now])
    restored = there.path(there_now)
    assert restored.read_bytes() == SECRET
    assert restored.with_name(restored.name + "-wal").read_bytes() == b"the latest"


@pytest.mark.parametrize("lock", ["", ".lock"])
async def test_a_session_that_a_process_has_open_is_not_taken_for_closed(
    here: Disk, seal: Seal, device: Device, lock: str, look_from_the_loop: None
) -> None:
    owned = here.own(device)
    path = here.write(owned, SECRET)
    vault = Vault("here", here.folder, seal)
    with path.with_name(path.name + lock).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not await vault.keep(owned, "", clean=True)
    assert not SessionVault.objects.exists()
    path.write_bytes(SECRET)
    assert await vault.keep(owned, "", clean=True)
    vault.close()
    assert row(device).is_clean


async def test_nothing_outside_the_folder_is_read_or_deleted_at_a_gateways_word(
    here: Disk, seal: Seal, device: Device, tmp_path: Path, look_from_the_loop: None
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(SECRET)
    vault = Vault("here", here.folder, seal)
    assert not await vault.keep(here.own(device), str(elsewhere), clean=True)
    vault.close()
    assert elsewhere.exists()
    assert not SessionVault.objects.exists()


@pytest.mark.parametrize("seal_there", [None, Seal([Fernet.generate_key().decode()])])
def test_a_copy_that_cannot_be_opened_is_kept_and_its_device_is_not_opened(
    here: Disk, there: Disk, seal: Seal, device: Device, seal_there: Seal | None, caplog: pytest.LogCaptureFixture
) -> None:
    here.copy(here.own(device), seal, SECRET)
    owned = there.own(device)
    brought = bring("there", there.folder, seal_there, [owned])
    assert (brought.fresh, brought.failed) == ({}, {owned.id: CANNOT_OPEN})
    assert row(device).host == "here"
    assert "cannot be opened" in caplog.text
    assert bring("there", there.folder, seal, [owned]).fresh == {owned.id: True}


def test_whoever_lost_the_device_neither_opens_nor_stores_anything(
    here: Disk, there: Disk, seal: Seal, device: Device
) -> None:
    lost = here.own(device)
    there.own(device)
    assert bring("here", here.folder, seal, [lost]).fresh == {}
    assert not here.copy(lost, seal, SECRET)
    assert not SessionVault.objects.exists()


def test_a_logged_out_session_is_not_kept_and_a_banned_one_is(here: Disk, seal: Seal, device: Device) -> None:
    owned = here.own(device)
    here.copy(owned, seal, SECRET)
    record("here", [Report(owned.id, owned.epoch, "banned", banned_until=4e9)])
    assert row(device).sealed
    record("here", [Report(owned.id, owned.epoch, "unlinked", "removed on the phone")])
    assert not SessionVault.objects.exists()
    assert not here.copy(owned, seal, SECRET)  # one that was under way
    assert not SessionVault.objects.exists()


def test_a_new_link_begins_without_the_copy_of_an_earlier_one(here: Disk, seal: Seal, device: Device) -> None:
    owned = here.own(device)
    here.copy(owned, seal, SECRET)
    record("here", [Report(owned.id, owned.epoch, "connecting", phone="+60111222333", served=True)])
    assert (row(device).host, row(device).sealed, row(device).is_clean) == ("here", None, False)


def test_many_devices_are_brought_by_two_statements(here: Disk, seal: Seal, django_assert_num_queries: Any) -> None:
    workspace = make_workspace(device_limit=200)
    devices = [make_device(workspace, state="connecting", owner_id="here") for _ in range(100)]
    owned = leases.assigned(here.lease)
    with django_assert_num_queries(2):
        assert len(bring("here", here.folder, seal, owned).fresh) == len(devices)


# ---- what nobody sees


def test_the_tenant_role_has_no_right_on_the_vault(here: Disk, seal: Seal, device: Device) -> None:
    here.copy(here.own(device), seal, SECRET)
    for question in ("SELECT 1 FROM {}", "DELETE FROM {}", "UPDATE {} SET is_clean = true"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            tenant_scope(device.workspace),
            connection.cursor() as cursor,
        ):
            cursor.execute(question.format("devices_sessionvault"))


def test_no_key_and_nothing_of_a_session_is_in_the_database_or_a_log(
    here: Disk, there: Disk, seal: Seal, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    here.copy(here.own(device), seal, SECRET)
    bring("there", there.folder, Seal([Fernet.generate_key().decode()]), [there.own(device)])
    bring("there", there.folder, seal, [there.own(device)])
    assert KEY not in caplog.text
    assert SECRET.decode() not in caplog.text
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM devices_sessionvault")
        [sealed] = cursor.fetchone()
        assert SECRET not in bytes(sealed)
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{KEY}%"])
            assert cursor.fetchone() == (0,), table


# ---- new keys


def test_rotating_seals_every_copy_with_the_first_key(
    here: Disk, seal: Seal, device: Device, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    owned = here.own(device)
    here.copy(owned, seal, SECRET)
    new = Fernet.generate_key().decode()
    settings.VAULT_KEYS = [new, KEY]
    call_command("rotate_vault")
    assert "Sealed with the first key: 1." in capsys.readouterr().out
    assert Seal([new]).open(owned.id, bytes(row(device).sealed or b"")) == {"": SECRET}
    settings.VAULT_KEYS = [KEY]
    with pytest.raises(CommandError, match="Cannot be opened with any of VAULT_KEYS: 1"):
        call_command("rotate_vault")
    settings.VAULT_KEYS = []
    with pytest.raises(CommandError, match="VAULT_KEYS is not set") as refused:
        call_command("rotate_vault")
    assert refused.value.returncode == 2
