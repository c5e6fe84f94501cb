"""Measures what running a program costs: `xagent bench` uses it, and the project's own, larger benchmark."""
