"""A task queue on Celery."""
