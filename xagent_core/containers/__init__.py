"""What backends on container engines share: everything about a container but the words of one engine's SDK.

A plugin brings a `Service`, the calls of its SDK, and a `ContainerBackend` that finds it. No SDK is imported here.
"""
