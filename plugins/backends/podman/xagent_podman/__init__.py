"""The Podman backend of xagent. `xagent_podman.backend.PodmanBackend` is what it provides."""
