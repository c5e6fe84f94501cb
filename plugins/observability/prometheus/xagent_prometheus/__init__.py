"""Prometheus metrics of xagent's executions, sandbox pools, queues and workers."""
