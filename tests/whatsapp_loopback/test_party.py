"""Fake devices among themselves: sessions begin, cross, and are begun again."""

from __future__ import annotations

import pytest

from tests.whatsapp_loopback.party import Party


def test_both_may_begin_a_session_at_the_same_moment() -> None:
    budi, wati = Party("budi"), Party("wati")
    budi.begin("wati", wati.bundle)
    wati.begin("budi", budi.bundle)
    from_budi, from_wati = budi.encrypt("wati", b"hello"), wati.encrypt("budi", b"hi")

    assert wati.decrypt("budi", *from_budi) == b"hello"
    assert budi.decrypt("wati", *from_wati) == b"hi"
    for n in range(3):
        assert wati.decrypt("budi", *budi.encrypt("wati", b"more %d" % n)) == b"more %d" % n
        assert budi.decrypt("wati", *wati.encrypt("budi", b"and %d" % n)) == b"and %d" % n


def test_messages_may_overtake_each_other_but_none_is_read_twice() -> None:
    budi, wati = Party("budi"), Party("wati")
    budi.begin("wati", wati.bundle)
    first, second = budi.encrypt("wati", b"first"), budi.encrypt("wati", b"second")

    assert wati.decrypt("budi", *second) == b"second"
    assert wati.decrypt("budi", *first) == b"first"
    with pytest.raises(KeyError):
        wati.decrypt("budi", *first)


def test_a_damaged_message_changes_nothing() -> None:
    budi, wati = Party("budi"), Party("wati")
    budi.begin("wati", wati.bundle)
    kind, data = budi.encrypt("wati", b"hello")

    with pytest.raises(ValueError, match="no session"):
        wati.decrypt("budi", kind, data[:-1] + bytes([data[-1] ^ 1]))
    assert wati.decrypt("budi", kind, data) == b"hello"
