"""Questions asked of contacts, as English."""

from __future__ import annotations

import re
from typing import Self

from django.db.models import Q

from accounts.phones import BadPhone, to_e164
from accounts.tenancy import TenantQuerySet

_NUMBER = re.compile(r"[+\d][\d\s().-]*")


class ContactQuerySet(TenantQuerySet):
    def matching(self, text: str, country: str) -> Self:
        """The one with this number, when the text is a whole one; else whose name or number holds it."""
        try:
            return self.filter(phone=to_e164(text, country))
        except BadPhone:
            found = Q(name__icontains=text)
        if _NUMBER.fullmatch(text):
            # people search for their own way of writing a number: 012-345 is +6012345…
            digits = re.sub(r"\D", "", text).lstrip("0")
            if digits:
                found |= Q(phone__contains=digits)
        return self.filter(found)

    def tagged(self, tag_id: int) -> Self:
        """With exactly this tag. A join on the tag's id, so that the newest are read off the index of its links."""
        return self.filter(tag_links__tag=tag_id)

    def opted_out(self) -> Self:
        return self.filter(opted_out_at__isnull=False)

    def agreeing(self) -> Self:
        return self.filter(opted_out_at__isnull=True)

    def count_up_to(self, most: int) -> int:
        """How many there are; `most` when there are at least so many, found without counting the rest."""
        return self.order_by()[:most].count()
