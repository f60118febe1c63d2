"""What monitoring keeps of its own: of the installation, and each workspace's alerts and wall links."""

from __future__ import annotations

from monitoring.models.alert import Alert, AlertChoice
from monitoring.models.heartbeat import Heartbeat
from monitoring.models.incident import Incident
from monitoring.models.kept import Kept
from monitoring.models.wall import WallKind, WallLink

__all__ = ["Alert", "AlertChoice", "Heartbeat", "Incident", "Kept", "WallKind", "WallLink"]
