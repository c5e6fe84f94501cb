"""Serves xagent's tools over HTTP, and a web page that runs programs."""
