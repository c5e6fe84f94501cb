"""What every HTTP door of xagent has in common: who may come in, how much at once, and how it is opened and closed.

It is plain ASGI, so that a plugin may bring the web framework that it likes. Only `server` needs uvicorn, which the
extra `http` brings.
"""
