"""Questions asked of campaigns and streams, as English."""

from __future__ import annotations

from typing import Self

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from accounts.tenancy import TenantQuerySet
from campaigns.engine.lifecycle import FIGURES, MESSAGE_STATES, OPEN

COUNTERS = (*MESSAGE_STATES, "replied")


class CampaignQuerySet(TenantQuerySet):
    def open(self) -> Self:
        return self.filter(state__in=OPEN)


class StreamQuerySet(TenantQuerySet):
    def unsent(self) -> Self:
        """Those with messages that have not begun to leave."""
        return self.filter(Q(pending__gt=0) | Q(waiting__gt=0))

    def remaining(self) -> Self:
        """Those with messages that may still leave, or are leaving."""
        return self.filter(Q(pending__gt=0) | Q(waiting__gt=0) | Q(sending__gt=0))

    def lock(self) -> list[int]:
        """Wait for them in the order of everywhere, by id (see `campaigns.outbox`); returns their ids."""
        return list(self.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))

    def totals(self) -> dict[str, int]:
        """Every counter and every figure, summed: ``{"pending": 3, …, "n_sent": …}``; see `figures_of`."""
        sums = self.aggregate(**{f"n_{name}": Coalesce(Sum(name), 0) for name in COUNTERS})
        return figures_of({name: sums[f"n_{name}"] for name in COUNTERS})


def figures_of(counts: dict[str, int]) -> dict[str, int]:
    """The counts as ``n_<state>``, and what is made of them: should, sent, failed, remaining, skipped, uncertain."""
    figures = {figure: sum(counts[state] for state in states) for figure, states in FIGURES.items()}
    return {
        **{f"n_{name}": count for name, count in counts.items()},
        **figures,
        "should": sum(figures.values()),
    }
