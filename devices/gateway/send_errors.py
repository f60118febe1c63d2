"""What the library's words about a failed send mean: surely not sent, refused, or nobody knows. The one table."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_REFUSED = re.compile(r"server returned error (\d+)")
# How an error begins that comes up before the message's frame is handed to the socket, and what we call it. An error
# of the send itself that merely sounds alike does not begin like this: "websocket not connected" alone is said when a
# frame that had left was to be repeated.
_NOT_SENT = (
    ("failed to send message node: websocket not connected", "not connected"),
    ("failed to send message node: frame socket is closed", "not connected"),
    ("client is nil", "not connected"),
    ("the store doesn't contain a device JID", "no session"),
    ("no LID found for", "no LID found for the number: it is not on WhatsApp"),
    ("failed to get LID for PN", "the number could not be looked up"),
    ("failed to get user info for", "the number could not be looked up"),
    ("failed to get device list", "the person's devices could not be looked up"),
    ("failed to fetch LID mappings", "the person's devices could not be looked up"),
    ("failed to prefetch sessions", "it could not be encrypted"),
    ("failed to save cached sessions", "it could not be encrypted"),
    ("can't encrypt message for device", "it could not be encrypted"),
    ("cipher encryption failed", "it could not be encrypted"),
    ("failed to process prekey bundle", "it could not be encrypted"),
    ("failed to marshal message", "it could not be encoded"),
    ("message recipient must be a user JID", "not a number"),
    ("can't send message to unknown server", "not a number"),
)
STRANGE = "the library's answer is not known to us"
_UNKNOWN = (
    ("timed out waiting for message send response", "timed out waiting for message send response"),
    ("websocket disconnected before", "websocket disconnected before the acknowledgement"),
)


class Verdict(NamedTuple):
    """`why` is in our words, without numbers of people; `code` is that of WhatsApp's refusal, else 0."""

    kind: Literal["not sent", "refused", "unknown"]
    why: str
    code: int = 0


def verdict(error: str) -> Verdict:
    if refused := _REFUSED.fullmatch(error):
        return Verdict("refused", error, int(refused[1]))
    for beginning, why in _NOT_SENT:
        if error.startswith(beginning):
            return Verdict("not sent", why)
    for beginning, why in _UNKNOWN:
        if error.startswith(beginning):
            return Verdict("unknown", why)
    return Verdict("unknown", STRANGE)
