"""OpenTelemetry traces of xagent: from the caller through the queue into the sandbox."""
