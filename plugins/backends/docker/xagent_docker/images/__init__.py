"""The command `xagent images`: lists, pulls and builds the images that languages run in.

`build` needs no container registry. An image is a stack of layers: a minimal Debian (`debian`), one layer for each
wheel (`wheels`), what a language's Debian packages add to the minimal one, and what its setup script makes
(`setup_script`). Layers are the same bytes whenever the packages are the same versions, so languages share them,
and the daemon gets the finished image as an archive (`archive`): no builder executes anything.
"""
