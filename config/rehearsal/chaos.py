"""`manage.py chaos`: everything that can go wrong, done on purpose to an installation of its own, and then the account.

It runs before Django is set up, because the settings need the servers that it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time

from config.rehearsal.installation import NeverHappened, new_installation

NAMES = (
    "kill-engines",
    "kill-gateways",
    "kill-everything",
    "stop-engines-in-turn",
    "fault-points",
    "freeze-host",
    "redis",
    "postgres-restarts",
    "postgres-away",
    "start-together",
    "lost-acks",
    "bans",
    "changed-minds",
)  # of config/rehearsal/scenarios.py, which needs Django


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py chaos", description=__doc__)
    parser.add_argument("--json", action="store_true", help="say nothing but the result, one JSON object")
    parser.add_argument("--short", action="store_true", help="less of everything: three minutes instead of forty")
    parser.add_argument(
        "--scenario", action="extend", nargs="+", default=[], choices=NAMES, metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses victims and moments (%(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, like Ctrl-C
    os.environ.setdefault("FAILOVER_AFTER_S", "5")
    began = time.monotonic()
    with new_installation() as installation:
        from config.rehearsal.play import Play
        from config.rehearsal.scenarios import scenarios

        installation.start_office()
        known = scenarios(asked.short)
        results = []
        try:
            for name in asked.scenario or NAMES:
                result = Play(known[name], installation, asked.seed).run()
                results.append(result)
                if not asked.json:
                    print(json.dumps(result), file=sys.stderr, flush=True)  # noqa: T201
        except NeverHappened as problem:
            raise SystemExit(f"{problem}: {installation.tail()}") from None
    clean = all(result["clean"] for result in results)
    print(json.dumps({"clean": clean, "seconds": round(time.monotonic() - began, 1), "scenarios": results}))  # noqa: T201
    return 0 if clean else 1
