"""Agent tools that run code and keep thoughts."""
