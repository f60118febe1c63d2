"""The state machines: which moves messages (docs/engine.md) and campaigns make, and what the figures are made of."""

from __future__ import annotations

PENDING, SENDING, WAITING = "pending", "sending", "waiting"
SENT, DELIVERED, READ = "sent", "delivered", "read"
DEAD, UNCERTAIN, ASSUMED = "dead", "uncertain", "assumed"
SKIPPED, EXPIRED, CANCELLED = "skipped", "expired", "cancelled"

MESSAGE_MOVES: dict[str, frozenset[str]] = {
    # Sent and beyond: what was to be sent again had arrived after all.
    PENDING: frozenset({SENDING, CANCELLED, EXPIRED, SKIPPED, SENT, DELIVERED, READ}),
    WAITING: frozenset({SENDING, CANCELLED, EXPIRED, SKIPPED, DELIVERED, READ}),
    SENDING: frozenset({SENT, WAITING, DEAD, UNCERTAIN}),
    UNCERTAIN: frozenset({SENT, DELIVERED, READ, PENDING, ASSUMED, CANCELLED}),
    ASSUMED: frozenset({SENT, DELIVERED, READ}),
    SENT: frozenset({DELIVERED, READ}),
    DELIVERED: frozenset({READ}),
    READ: frozenset(),
    DEAD: frozenset({PENDING, CANCELLED}),
    SKIPPED: frozenset(),
    EXPIRED: frozenset(),
    CANCELLED: frozenset({SENT, DELIVERED, READ}),  # what was given up while nobody knew had arrived after all
}
MESSAGE_STATES = tuple(MESSAGE_MOVES)

# The reasons of what a person gave up: after it had failed, and while nobody knew whether it had left.
GIVEN_UP, GIVEN_UP_UNSURE = "given_up", "given_up_unsure"

# Should = Sent + Failed + Remaining + Skipped + Uncertain, at every level.
FIGURES: dict[str, tuple[str, ...]] = {
    "sent": (SENT, DELIVERED, READ, ASSUMED),
    "failed": (DEAD,),
    "remaining": (PENDING, WAITING, SENDING),
    "skipped": (SKIPPED, EXPIRED, CANCELLED),
    "uncertain": (UNCERTAIN,),
}
CLAIMABLE = (PENDING, WAITING)

CAMPAIGN_MOVES: dict[str, frozenset[str]] = {
    "draft": frozenset({"scheduled", "running"}),
    "scheduled": frozenset({"draft", "running", "cancelled"}),
    "running": frozenset({"paused", "completed", "cancelled"}),
    "paused": frozenset({"running", "cancelled"}),
    "completed": frozenset({"running"}),
    "cancelled": frozenset(),
}
OPEN = ("running", "paused")
UNFINISHED = ("draft", "scheduled", *OPEN)
