"""A campaign's form as somebody filled it in."""

from __future__ import annotations

from typing import Any

from accounts.models import Workspace
from tests.factories import make_device

SAFE = {"failover": "wait", "uncertain_policy": "hold", "expire_after_h": ""}


def filled(workspace: Workspace, **fields: Any) -> dict[str, Any]:
    values = {
        "name": "Spring",
        "text": "Hi {{ name }}",
        "audience": "everyone",
        "devices": [make_device(workspace).pk],
        "min_delay": "",
        "assignment": "sticky",
        "device_cap": "",
        **SAFE,
        "when": "now",
        "start_at": "",
    }
    return {**values, **fields}
