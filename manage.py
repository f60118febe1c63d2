#!/usr/bin/env python
"""Flotilla's command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] == ["up"]:  # before Django: the settings need the servers that it starts
        from config.up import main as up

        sys.exit(up(sys.argv[2:]))
    if sys.argv[1:2] == ["rehearse"]:  # likewise
        from config.rehearsal.command import main as rehearse

        sys.exit(rehearse(sys.argv[2:]))
    if sys.argv[1:2] == ["chaos"]:
        from config.rehearsal.chaos import main as chaos

        sys.exit(chaos(sys.argv[2:]))
    from django.core.management import execute_from_command_line

    from config.running import adopt

    adopt(Path(__file__).resolve().parent)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
