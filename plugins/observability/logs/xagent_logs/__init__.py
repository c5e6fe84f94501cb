"""Structured logs of xagent: JSON, with the id of the job and of the trace."""
