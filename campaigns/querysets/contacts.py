"""Questions asked of contacts, as English."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from django.core.cache import cache
from django.core.exceptions import EmptyResultSet

from accounts.models import Workspace
from accounts.phones import BadPhone, to_e164
from accounts.tenancy import TenantQuerySet
from campaigns.querysets.search import FEW, few_with_fields, one_of, search_for

MANY = 10_000
KEPT_S = 30


class ContactQuerySet(TenantQuerySet):
    """``narrowed``: an index named the few among whom all are that it asks for."""

    narrowed = False

    def _clone(self) -> Self:
        clone = super()._clone()  # type: ignore[misc]  # the stubs leave it out
        clone.narrowed = self.narrowed
        return clone

    def matching(self, text: str, workspace: Workspace, most: int = FEW) -> Self:
        """The one with this number, when the text is a whole one; else those whom `search_for` means.

        In a large workspace an index is asked first; where it finds up to ``most`` people, nobody else is looked at.
        """
        country = workspace.default_country
        try:
            return self.filter(phone=to_e164(text, country))._as_narrowed()
        except BadPhone:
            search = search_for(text, country)
        few = search.few(workspace.pk, most) if most and self.of_many(workspace) else None
        return self.filter(search.asked) if few is None else self.among(few)

    def with_fields(self, fields: Mapping[str, str], workspace: Workspace, most: int = FEW) -> Self:
        """Narrowed by an index, where it finds at most so many who have these values; to be asked for them besides."""
        quick = most and fields and self.of_many(workspace)
        return self.among(few_with_fields(fields, workspace.pk, most) if quick else None)

    def among(self, few: Sequence[int] | None) -> Self:
        """Only these ids; None: no matter which."""
        if few is None:
            return self
        return (self.filter(one_of(few)) if few else self.none())._as_narrowed()

    def _as_narrowed(self) -> Self:
        self.narrowed = True
        return self

    def of_many(self, workspace: Workspace) -> bool:
        return self.model._base_manager.filter(workspace=workspace).order_by()[:MANY].count() >= MANY

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

    def count_lately(self, quicker: Callable[[], Self] | None = None) -> int:
        """How many there are; of a large workspace as it was at most half a minute ago.

        ``quicker``: the same people, looked up in an index, which is only worth it where they must be counted.
        """
        (count,) = self.kept("count", lambda: [(quicker() if quicker else self).order_by().count()])
        return count

    def count_up_to_lately(self, most: int, quicker: Callable[[], Self]) -> int:
        """As `count_up_to`, and as old as `count_lately`."""
        (count,) = self.kept(f"up to {most}", lambda: [quicker().count_up_to(most)])
        return count

    def kept(self, what: str, reckon: Callable[[], Sequence[int]]) -> list[int]:
        """Numbers reckoned from these people; of a large workspace kept for `KEPT_S`, for a pass over a million takes
        a second, and pages ask again and again while somebody writes. ``what`` names the numbers.
        """
        return [number for (number,) in self.kept_rows(what, lambda: [(number,) for number in reckon()], (int,))]

    def kept_rows(
        self, what: str, reckon: Callable[[], Sequence[Sequence[int | str]]], kinds: tuple[type, ...]
    ) -> list[list[Any]]:
        """As `kept`: one row or more, of values of these kinds."""
        key = self._key(what)
        if key is None:
            return [list(row) for row in reckon()]
        found = cache.get(key)
        if isinstance(found, list) and found and all(_is_row(row, kinds) for row in found):
            return found
        fresh = [list(row) for row in reckon()]
        if self._is_of_many():
            cache.set(key, fresh, KEPT_S)
        return fresh

    def _key(self, what: str) -> str | None:
        """The same for the same question; one about the last days is the same for a minute. None: it finds nobody."""
        try:
            sql, params = self.order_by().query.sql_with_params()
        except EmptyResultSet:
            return None
        asked = [one.strftime("%Y-%m-%d %H:%M") if isinstance(one, datetime) else repr(one) for one in params]
        return f"contacts:{hashlib.sha256(repr((what, sql, asked)).encode()).hexdigest()}"

    def _is_of_many(self) -> bool:
        """Whether the workspace is large (seen as the owner of the tables: the installation)."""
        return self.model._base_manager.order_by()[:MANY].count() >= MANY


def _is_row(row: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(row, list) and [type(value) for value in row] == list(kinds)
