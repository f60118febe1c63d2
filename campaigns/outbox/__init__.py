"""The outbox: the only statements that let a message out, and that write down what became of it (docs/engine.md).

Every statement works on many devices at once. Claim, settle and receipts pass over devices and streams that somebody
has locked: a campaign being planned or cancelled must not hold up all the others. What waits for locks takes them in
one order: people by number, then devices, streams and messages by id; so do pause, cancel, planning, moving and
importing, and no two can wait for each other.
"""

from campaigns.outbox.claim import Ask, Claimed, Held, claim, devices_with_due_work
from campaigns.outbox.evidence import Doubt, ReceiptRow, doubts_of, note_evidence, settle_receipts
from campaigns.outbox.settle import Moved, Settled, Settlement, settle
from campaigns.outbox.takeover import abandon

__all__ = [
    "Ask",
    "Claimed",
    "Doubt",
    "Held",
    "Moved",
    "ReceiptRow",
    "Settled",
    "Settlement",
    "abandon",
    "claim",
    "devices_with_due_work",
    "doubts_of",
    "note_evidence",
    "settle",
    "settle_receipts",
]
