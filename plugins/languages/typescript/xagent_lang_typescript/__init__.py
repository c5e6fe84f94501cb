"""The language TypeScript, for xagent."""
