"""What monitoring keeps of its own; none of it belongs to a workspace."""

from __future__ import annotations

from monitoring.models.heartbeat import Heartbeat
from monitoring.models.incident import Incident
from monitoring.models.kept import Kept

__all__ = ["Heartbeat", "Incident", "Kept"]
