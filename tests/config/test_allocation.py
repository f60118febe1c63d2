"""What the web process does with its memory."""

from __future__ import annotations

import gc

from config.allocation import set_apart_what_stays


def test_what_is_loaded_for_good_is_spared_all_later_collections() -> None:
    set_apart_what_stays()
    try:
        assert gc.get_freeze_count() > 50_000
        assert len(gc.get_objects()) < 5_000
    finally:
        gc.unfreeze()
