"""The WhatsApp gateway's process: real sessions over neonize, for the engine on descriptor `--fd`.

Start it by exec, never by fork: the library does not survive one.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import socket
import sys
import threading
import types

import uvloop

from devices.gateway import noise, process

# Go sees the environment that the process was started with, and never what Python made of it later
ENVIRONMENT = {
    "NEONIZE_BOT_TAG": "off",  # else every message would carry a mark of the library
    "MALLOC_ARENA_MAX": "2",  # hundreds of threads would each keep memory of their own
}
_STACK = 512 * 1024


def start_over_with_environment() -> None:
    """Become the same program anew unless the library's environment is as it has to be."""
    if not ENVIRONMENT.items() <= os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ENVIRONMENT})  # noqa: S606 - there is no shell


def prepare_surroundings() -> None:
    """What has to be so before the library is loaded."""
    os.umask(0o077)  # session files and all that SQLite puts beside them are the owner's alone
    handler = process.log_to_stderr("gateway", os.fdopen(os.dup(2), "w", buffering=1))
    handler.addFilter(noise.Mask({"gateway", "whatsapp"}))
    noise.capture()
    # Nothing here makes previews of links: what would fetch them is neither loaded nor able to
    sys.modules["linkpreview"] = types.ModuleType("linkpreview")
    sys.modules["linkpreview"].link_preview = None  # type: ignore[attr-defined]
    threading.stack_size(_STACK)


async def _serve(engine_socket: socket.socket, send_timeout: float | None) -> None:
    gc.disable()  # nothing of what is loaded now is ever garbage
    media = importlib.import_module("devices.gateway.media")  # finds libmagic for the library, which is loaded next
    whatsapp_server = importlib.import_module("devices.gateway.whatsapp_server")

    gc.freeze()
    gc.enable()
    media.say_what_is_missing()
    await whatsapp_server.WhatsAppGateway(send_timeout or whatsapp_server.SEND_TIMEOUT_S).serve(engine_socket)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="whatsapp", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the engine")
    parser.add_argument("--send-timeout", type=float, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    start_over_with_environment()
    engine_socket = process.engine_socket(arguments.fd)
    prepare_surroundings()
    status = 1
    try:
        uvloop.run(_serve(engine_socket, arguments.send_timeout))
        status = 0
    except Exception:
        logging.getLogger("gateway").exception("the gateway failed")
    finally:
        # Threads of the library that nobody can end must not keep the process; what matters is on the disk
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
