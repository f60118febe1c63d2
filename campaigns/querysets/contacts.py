"""Questions asked of contacts, as English."""

from __future__ import annotations

from accounts.tenancy import TenantQuerySet


class ContactQuerySet(TenantQuerySet):
    pass
