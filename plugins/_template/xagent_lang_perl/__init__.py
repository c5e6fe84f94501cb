"""Perl for xagent."""
