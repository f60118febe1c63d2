"""Which host owns which device, and what keeps its session."""
