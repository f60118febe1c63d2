"""What monitoring keeps of its own."""

from monitoring.models.wall import WallKind, WallLink

__all__ = ["WallKind", "WallLink"]
