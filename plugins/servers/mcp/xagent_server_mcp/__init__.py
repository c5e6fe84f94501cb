"""Serves xagent's tools to MCP clients."""
