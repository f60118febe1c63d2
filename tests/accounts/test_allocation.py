"""What our processes do with memory."""

from __future__ import annotations

import gc

from accounts.allocation import set_apart_what_stays


def test_what_is_loaded_for_good_is_spared_all_later_collections() -> None:
    thresholds = gc.get_threshold()
    set_apart_what_stays()
    try:
        assert gc.get_freeze_count() > 50_000
        assert len(gc.get_objects()) < 5_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
