"""The bubblewrap backend of xagent: sandboxes without a daemon and without images."""
