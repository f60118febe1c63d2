"""Plain implementations of sending, one job a message on RQ and on Celery, to measure our engine against."""
