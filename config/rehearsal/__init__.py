"""The rehearsal: a whole installation of its own, real processes and all, run against the simulated network's ledger."""
