"""Makes a Celery application under whose settings no message is lost."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue

__all__ = ["TASK", "declared", "make_app", "queue_name"]

TASK: Final = "xagent"


def queue_name(prefix: str, queue: str) -> str:
    """What the broker calls a named queue."""
    return f"{prefix}-{queue}"


def make_app(url: str, *, prefix: str, longest: float) -> Celery:
    """An application; nothing is sent yet.

    Args:
        url: The broker's.
        prefix: Before everything that it keeps there.
        longest: Seconds that a job may take.
    """
    app: Celery = Celery("xagent", broker=url, set_as_current=False)
    app.amqp.Connection = _Connection
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        broker_transport_options=_transport_options(url, prefix, longest),
        task_create_missing_queues=True,
    )
    return app


class _Connection(Connection):  # type: ignore[misc,unused-ignore]
    """A connection to the broker that, once lost, is tried every second: by default, ever later, up to 30 s."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connects, as often as it takes."""
        connect: Any = super().ensure_connection
        return connect(*arguments, **{"interval_start": 1, "interval_step": 0, "interval_max": 1, **options})


def declared(prefix: str, queues: tuple[str, ...]) -> list[Any]:
    """The queues as a worker consumes them, in their order."""
    make: Any = Queue
    return [make(queue_name(prefix, queue), routing_key=queue_name(prefix, queue)) for queue in queues]


def _transport_options(url: str, prefix: str, longest: float) -> dict[str, Any]:
    if not url.startswith("redis"):
        # Without confirmation, a message that the broker never saw would count as sent.
        return {"confirm_publish": True}
    return {
        "global_keyprefix": f"{prefix}:celery:",
        "queue_order_strategy": "priority",
        "visibility_timeout": longest + 60,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
    }
