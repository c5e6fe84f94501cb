"""The language Go, for xagent."""
