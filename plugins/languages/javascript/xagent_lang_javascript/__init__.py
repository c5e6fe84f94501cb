"""The language JavaScript, for xagent."""
