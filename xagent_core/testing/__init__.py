"""What tests of plugins import: the conformance suites, fakes, and the pytest plugin."""
