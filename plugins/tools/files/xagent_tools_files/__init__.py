"""Agent tools for the files of a workspace."""
