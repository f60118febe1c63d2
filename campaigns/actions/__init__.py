"""What a person or the clock can do, as verbs: one transaction each."""
