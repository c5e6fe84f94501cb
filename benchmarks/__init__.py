"""Measures xagent beside bare interpreters, bare engines and other sandboxes: `nox -s bench`."""
