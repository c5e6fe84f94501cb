"""Compares task queues on the same work with a real Redis, and writes the evaluation."""
