"""The language Python, for xagent."""
