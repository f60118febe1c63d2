"""Sealing: what comes out is what went in, for the same device and a key of the ring, or nothing does."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from devices.hosting.sealing import BadKeys, CannotOpen, Seal

FIRST, SECOND = (Fernet.generate_key().decode() for _ in range(2))
PARTS = {"": b"SQLite format 3\0" + bytes(4000), "-wal": b"the latest"}


@given(st.integers(1, 2**63 - 1), st.dictionaries(st.sampled_from(["", "-wal"]), st.binary(max_size=500)))
def test_what_was_sealed_opens_for_its_device(device: int, parts: dict[str, bytes]) -> None:
    assert Seal([FIRST]).open(device, Seal([FIRST]).close(device, parts)) == parts


def test_nothing_of_it_can_be_read_and_it_is_packed() -> None:
    sealed = Seal([FIRST]).close(1, PARTS)
    assert b"SQLite" not in sealed
    assert b"latest" not in sealed
    assert len(sealed) < 400


def test_one_devices_copy_never_passes_for_anothers() -> None:
    with pytest.raises(CannotOpen, match="another device"):
        Seal([FIRST]).open(2, Seal([FIRST]).close(1, PARTS))


def test_a_changed_copy_does_not_open() -> None:
    sealed = bytearray(Seal([FIRST]).close(1, PARTS))
    sealed[len(sealed) // 2] ^= 1
    with pytest.raises(CannotOpen):
        Seal([FIRST]).open(1, bytes(sealed))


def test_every_key_of_the_ring_opens_and_the_first_seals() -> None:
    old = Seal([FIRST]).close(1, PARTS)
    both = Seal([SECOND, FIRST])
    assert both.open(1, old) == PARTS
    with pytest.raises(CannotOpen):
        Seal([SECOND]).open(1, old)
    assert Seal([SECOND]).open(1, both.renew(old)) == PARTS
    assert Seal([SECOND]).open(1, both.close(1, PARTS)) == PARTS


@pytest.mark.parametrize("keys", [[], ["too short"], [FIRST, "not a key"], [FIRST[:-4]], ["ключ"]])
def test_without_good_keys_there_is_no_seal_and_the_reason_names_none(keys: list[str]) -> None:
    with pytest.raises(BadKeys, match="VAULT_KEYS") as refused:
        Seal(keys)
    assert not any(key in str(refused.value) for key in keys)
    assert "\n" not in str(refused.value)
