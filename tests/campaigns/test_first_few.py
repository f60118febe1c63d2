"""A campaign that begins with a few people, and the others once somebody has looked and says so."""

from __future__ import annotations
