"""Agent tools that read the web, and reach nothing but the public web."""
