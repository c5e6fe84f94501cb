"""Uses llm-sandbox as its documentation shows: `SandboxSession`, `create_pool_manager`. Runs in its environment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import metadata
from typing import Any

from llm_sandbox import SandboxBackend, SandboxSession
from llm_sandbox.pool import PoolConfig, create_pool_manager
from worker import serve


class _Sandboxes:
    """Sessions on Docker or bubblewrap.

    Args:
        options: The mode, the image and the program.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._mode, self._code = options["mode"], options["code"]
        bubblewrap = self._mode == "bubblewrap"
        backend = SandboxBackend.BUBBLEWRAP if bubblewrap else SandboxBackend.DOCKER
        # Without it, it updates pip over the network at each start, which no benchmark should wait for.
        self._how: dict[str, Any] = {"lang": "python", "backend": backend, "skip_environment_setup": True}
        if not bubblewrap:
            self._how["image"] = options["image"]
        self._pool: Any = None
        self._session: Any = None
        if self._mode == "pooled":
            config = PoolConfig(max_pool_size=2, min_pool_size=2, enable_prewarming=True)
            self._pool = create_pool_manager(config=config, **self._how)
        elif self._mode == "session":
            self._session = SandboxSession(**self._how)
            self._session.open()

    def once(self) -> tuple[str, Callable[[], None] | None]:
        """Runs the program."""
        if self._session is not None:
            return self._session.run(self._code).stdout, None
        if self._pool is not None:
            with SandboxSession(pool=self._pool, lang="python") as session:
                return session.run(self._code).stdout, None
        session = SandboxSession(**self._how)
        session.open()
        try:
            return session.run(self._code).stdout, session.close
        except BaseException:
            session.close()
            raise

    def close(self) -> None:
        """Closes the session or the pool."""
        for reused in (self._session, self._pool):
            if reused is not None:
                reused.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve(metadata.version("llm-sandbox"), _Sandboxes)
