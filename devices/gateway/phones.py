"""The simulated network's control socket: whoever connects plays the phones, one JSON line a request."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast, get_args

from devices.gateway.contract import IncomingKind

if TYPE_CHECKING:
    from devices.gateway.network import Network

KINDS = get_args(IncomingKind)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


class Refusal(Exception):
    """A request that cannot be met; its text is the answer."""


async def serve_phones(network: Network, listener: socket.socket) -> asyncio.Server:
    """Answer each request line `{"do": name, …}` by `{"ok": true, …}` or `{"ok": false, "error": text}`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(_answer(network, line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a line longer than the reader takes: either way the talk is over
        finally:
            writer.close()

    return await asyncio.start_unix_server(talk, sock=listener)


def _answer(network: Network, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        act = _REQUESTS[request.pop("do")]
        return {"ok": True, **act(network, **request)}
    except Refusal as refusal:
        return {"ok": False, "error": str(refusal)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return {"ok": False, "error": f"not a request: {error!r}"}


def _scan(network: Network, payload: str, phone: str | None = None) -> dict[str, Any]:
    return {"phone": network.scan(payload, phone and _number(phone))}


def _ban(network: Network, phone: str, seconds: float) -> dict[str, Any]:
    network.ban(phone, float(seconds))
    return {}


def _unlink(network: Network, phone: str) -> dict[str, Any]:
    network.unlink(phone)
    return {}


def _drop(network: Network, phone: str, seconds: float = 0.0) -> dict[str, Any]:
    network.drop(phone, float(seconds))
    return {}


def _poison(network: Network, phone: str, poisoned: bool = True) -> dict[str, Any]:
    network.account(_number(phone)).poisoned = bool(poisoned)
    return {}


def _rule(network: Network, match: dict[str, str], effect: dict[str, Any]) -> dict[str, Any]:
    network.add_rule(match, effect)
    return {"rules": len(network.rules)}


def _clear_rules(network: Network) -> dict[str, Any]:
    network.rules.clear()
    return {}


def _reply(
    network: Network, phone: str, sender: str, text: str, quoted: str = "", kind: str = "text"
) -> dict[str, Any]:
    if kind not in KINDS:
        raise Refusal("nobody can send that: " + ", ".join(KINDS))
    network.write_to(network.known(phone), _number(sender), text, quoted, cast(IncomingKind, kind))
    return {}


def _outdate(network: Network, outdated: bool = True) -> dict[str, Any]:
    network.outdated = outdated
    return {}


def _state(network: Network) -> dict[str, Any]:
    return network.state()


def _number(text: str) -> str:
    if not _E164.fullmatch(text):
        raise Refusal("not a number in the form +60123456789")
    return text


_REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {
    "scan": _scan,
    "ban": _ban,
    "unlink": _unlink,
    "drop": _drop,
    "poison": _poison,
    "rule": _rule,
    "clear_rules": _clear_rules,
    "reply": _reply,
    "outdate": _outdate,
    "state": _state,
}
