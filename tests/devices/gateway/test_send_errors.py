"""The library's words for a failed send, and what each lets us say: only what is sure is called not sent."""

from __future__ import annotations

import pytest

from devices.gateway.send_errors import STRANGE, verdict

DISCONNECTED = "websocket disconnected before the acknowledgement"
TIMED_OUT = "timed out waiting for message send response"


@pytest.mark.parametrize(
    ("error", "kind", "why", "code"),
    [
        ("server returned error 463", "refused", "server returned error 463", 463),
        ("server returned error 429", "refused", "server returned error 429", 429),
        ("server returned error updating app state", "unknown", STRANGE, 0),
        ("failed to send message node: websocket not connected", "not sent", "not connected", 0),
        # said of a frame that had left and was to be repeated
        ("websocket not connected", "unknown", STRANGE, 0),
        ("failed to send message node: write: broken pipe", "unknown", STRANGE, 0),
        ("client is nil", "not sent", "not connected", 0),
        ("the store doesn't contain a device JID", "not sent", "no session", 0),
        ("no LID found for 60123456789@s.whatsapp.net from server", "not sent", "no LID found for the number", 0),
        ("failed to get LID for PN 60123456789@s.whatsapp.net: x", "not sent", "the number could not", 0),
        ("failed to get user info for 60123456789@s.whatsapp.net to fill LID cache: x", "not sent", "the number", 0),
        ("failed to get device list: info query timed out", "not sent", "the person's devices", 0),
        ("failed to prefetch sessions: database is locked", "not sent", "it could not be encrypted", 0),
        ("can't encrypt message for device: no signal session established", "not sent", "it could not be encr", 0),
        ("failed to marshal message: x", "not sent", "it could not be encoded", 0),
        ("can't send message to unknown server x", "not sent", "not a number", 0),
        ("timed out waiting for message send response", "unknown", TIMED_OUT, 0),
        ("websocket disconnected before message send returned response", "unknown", DISCONNECTED, 0),
        ("websocket disconnected before message send (retry) returned response", "unknown", DISCONNECTED, 0),
        ("info query timed out", "unknown", STRANGE, 0),
        ("", "unknown", STRANGE, 0),
        ("something new: no LID found for", "unknown", STRANGE, 0),
    ],
)
def test_an_error_says_what_is_known_of_the_message(error: str, kind: str, why: str, code: int) -> None:
    said = verdict(error)
    assert (said.kind, said.code) == (kind, code)
    assert said.why.startswith(why)
    assert "60123456789" not in said.why
