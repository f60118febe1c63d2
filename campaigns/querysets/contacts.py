"""Questions asked of contacts, as English."""

from __future__ import annotations

import re
from typing import Self

from django.apps import apps
from django.db.models import Exists, OuterRef, Q

from accounts.tenancy import TenantQuerySet

_NUMBER = re.compile(r"[+\d][\d\s().-]*")


class ContactQuerySet(TenantQuerySet):
    def matching(self, text: str) -> Self:
        """Whose name holds the text, or whose number holds its digits."""
        found = Q(name__icontains=text)
        if _NUMBER.fullmatch(text):
            # people search for their own way of writing a number: 012-345 is +6012345…
            digits = re.sub(r"\D", "", text).lstrip("0")
            if digits:
                found |= Q(phone__contains=digits)
        return self.filter(found)

    def tagged(self, name: str) -> Self:
        """With exactly this tag."""
        links = apps.get_model("campaigns", "ContactTag").objects
        return self.filter(Exists(links.filter(contact=OuterRef("pk"), tag__name=name)))

    def opted_out(self) -> Self:
        return self.filter(opted_out_at__isnull=False)

    def agreeing(self) -> Self:
        return self.filter(opted_out_at__isnull=True)

    def count_up_to(self, most: int) -> int:
        """How many there are; `most` when there are at least so many, found without counting the rest."""
        return self.order_by()[:most].count()
