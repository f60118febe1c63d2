"""Users, workspaces, memberships, the audit ledger and the login throttle."""

from accounts.models.audit import AuditEntry
from accounts.models.throttle import LoginThrottle
from accounts.models.user import User
from accounts.models.workspace import Membership, Role, Workspace

__all__ = ["AuditEntry", "LoginThrottle", "Membership", "Role", "User", "Workspace"]
