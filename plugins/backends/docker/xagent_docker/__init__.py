"""The Docker backend of xagent. `xagent_docker.backend.DockerBackend` is what it provides."""
