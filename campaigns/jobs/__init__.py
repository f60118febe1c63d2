"""Doorbells: ids in, then one call."""
