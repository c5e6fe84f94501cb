"""The language Bash, for xagent."""
