"""`python -m xagent_core.cli`, where the `xagent` script is not on the PATH."""

from xagent_core.cli import main

main()
