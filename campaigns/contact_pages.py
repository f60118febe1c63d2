"""A page of the list of contacts: the newest of those who pass its filters, among however many.

Where no index answers a filter, the contacts of a large workspace are looked through in the order of the list, as many
as one request has time for; the next request goes on from there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self

from django.db.models import prefetch_related_objects

from campaigns.contact_filters import Filters
from campaigns.models import Contact
from campaigns.querysets.contacts import ContactQuerySet

LOOKED_THROUGH = 10_000  # contacts at a time
PATIENCE_S = 0.04  # no look begins later, where a whole page is drawn
FURTHER_S = 0.07  # the same for the rest of a page that stands
_PLACE = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where looking stopped: at the contact with the id ``below``, who was looked at.

    ``looked``: contacts so far, since the page began; ``fit``: those of them who pass.
    """

    below: int
    looked: int
    fit: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """As it stands in an address; None where that makes no sense."""
        found = _PLACE.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None

    def __str__(self) -> str:
        return f"{self.below}.{self.looked}.{self.fit}"


@dataclass(frozen=True, slots=True)
class Page:
    """``following``: the next page's have smaller ids; None: it is not known that there is one.

    ``further``: where to go on looking for the rest of this page; None: all were looked at, or it is full.
    ``fit``: how many are on this page by now, with those found before ``place``. ``passed`` of ``ids``: how far that
    is, by the ids of the contacts.
    """

    rows: list[Contact] = field(default_factory=list)
    following: int | None = None
    further: Place | None = None
    fit: int = 0
    passed: int = 0
    ids: int = 0

    @property
    def is_end(self) -> bool:
        """Whether nobody comes after these."""
        return self.further is None and self.following is None

    @property
    def about(self) -> int:
        """How many contacts there are, from those looked through: nobody has time to count a million of them."""
        looked = self.further.looked if self.further else 0
        about = looked * self.ids // max(self.passed, 1)
        return max(looked, round(about, 2 - len(str(about))))


def page_of(filters: Filters, size: int, before: int | None, place: Place | None, large: bool) -> Page:
    """Up to ``size`` people, the newest first, with smaller ids than ``before``; or on from ``place``.

    ``large``: the workspace has so many contacts that they cannot all be looked at.
    """
    if place:
        before = place.below
    if large and not filters.in_order:
        return _looked_through(filters, size, before, place)
    return _page(_newest(filters.contacts(), before, size + 1), size, before, place)


def _looked_through(filters: Filters, size: int, before: int | None, place: Place | None) -> Page:
    everybody = filters.contacts(0)
    if everybody.query.is_empty():
        return Page()
    began = perf_counter()
    ids = Contact.objects.for_workspace(filters.workspace).order_by("-pk").values_list("pk", flat=True)
    # Both ends of a look are named, for newer ids belong to other workspaces.
    begin = below = (ids.first() or 0) + 1 if before is None else before
    looked, fit = (place.looked, place.fit) if place else (0, 0)
    rows: list[Contact] = []
    while True:
        end = ids.filter(pk__lt=below)[LOOKED_THROUGH - 1 : LOOKED_THROUGH].first()
        rows += _newest(everybody.filter(pk__gte=end or 0), below, size + 1 - len(rows))
        if len(rows) > size or end is None:
            return _page(rows, size, begin, place)
        if below == begin and not place:
            # What is common stands among the first few thousand, where no index is faster than looking.
            people = filters.contacts()
            if people.narrowed or filters.leads_to_few(LOOKED_THROUGH):
                return _page(rows + _newest(people, end, size + 1 - len(rows)), size, begin, place)
        below, looked = end, looked + LOOKED_THROUGH
        if perf_counter() - began > (FURTHER_S if place else PATIENCE_S):
            fit += len(rows)
            newest, oldest = ids.first() or 0, ids.last() or 0
            further = Place(below, looked, fit)
            return Page(_with_tags(rows), None, further, fit, passed=newest - below, ids=newest - oldest)


def _newest(people: ContactQuerySet, below: int | None, most: int) -> list[Contact]:
    if below is not None:
        people = people.filter(pk__lt=below)
    return list(people.order_by("-pk")[:most])


def _page(rows: list[Contact], size: int, begin: int | None, place: Place | None) -> Page:
    """Of all that were found, one more than belong here where there are so many. ``begin``: all here are below it."""
    following = (rows[size - 1].pk if size else begin) if len(rows) > size else None
    here = _with_tags(rows[:size])
    return Page(here, following, fit=len(here) + (place.fit if place else 0))


def _with_tags(rows: list[Contact]) -> list[Contact]:
    prefetch_related_objects(rows, "tag_links__tag")
    return rows
