"""The processes that do the work: Celery workers that score, and the scheduler's upkeep."""
