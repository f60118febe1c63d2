"""What people do with what they are sent, and how the network treats it on the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Self


@dataclass
class Rule:
    """What happens to a message whose sender and recipient (phone numbers, shell patterns) match.

    `times` limits how often the rule applies; seconds are counted from the acknowledgement.
    """

    sender: str = "*"
    recipient: str = "*"
    times: int | None = None
    ack: bool = True  # False: stay silent
    ack_delay: float = 0.0
    ack_error: int | None = None  # 429, 463, 479, …: refused, the recipient never gets it
    drop: bool = False  # cut the connection instead of acknowledging; the recipient has it
    then_refuse: int | None = None  # with drop: HTTP status for every websocket from then on
    delivered: float | None = 0.05  # seconds to the delivery receipt, None for none
    read: float | None = None  # seconds to the read receipt
    exists: bool = True  # False: not on WhatsApp
    reply: str | None = None  # the recipient answers with this text

    @classmethod
    def of(cls, wish: dict[str, Any]) -> Self:
        """Raises ValueError for a field that no rule has."""
        unknown = set(wish) - {known.name for known in fields(cls)}
        if unknown:
            raise ValueError(f"no rule has {', '.join(sorted(unknown))}")
        return cls(**wish)

    def matches(self, sender: str, recipient: str) -> bool:
        return self.times != 0 and fnmatchcase(recipient, self.recipient) and fnmatchcase(sender, self.sender)


@dataclass
class Rules:
    """The first that matches decides; `people` is what everybody else does."""

    listed: list[Rule] = field(default_factory=list)
    people: Rule = field(default_factory=Rule)

    def find(self, sender: str, recipient: str, use: bool = False) -> Rule:
        """`use`: this is a message, which counts against the rule's `times`."""
        for rule in self.listed:
            if rule.matches(sender, recipient):
                if use and rule.times is not None:
                    rule.times -= 1
                return rule
        return self.people

    def describe(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self.listed]
