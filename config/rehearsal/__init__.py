"""The rehearsal: an installation of its own, real processes and all, checked against the network's ledger."""
