"""What runs inside a sandbox, and the messages that it is driven by."""
