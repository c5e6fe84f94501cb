"""A task queue on docket."""
