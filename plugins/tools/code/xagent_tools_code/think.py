"""The tool that keeps an agent's thoughts, and changes nothing else."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from xagent_core.agent_tool import AgentTool

__all__ = ["Think", "ThinkInput", "Thought", "ThoughtStore"]

_LONGEST: Final = 20_000
_MOST: Final = 1000
_MOST_CHARACTERS: Final = 5_000_000


class ThinkInput(BaseModel):
    """What `think` takes."""

    thought: str = Field(
        min_length=1, max_length=_LONGEST, description="The thought: a plan, an observation, a doubt, a conclusion."
    )
    context: str | None = Field(
        default=None, max_length=_LONGEST, description="What the thought is about, such as a task or a file."
    )


class Thought(BaseModel):
    """A thought that was kept."""

    model_config = ConfigDict(frozen=True)

    thought_id: str = Field(description="Unique.")
    thought: str
    context: str | None
    timestamp: str = Field(description="When it was kept: ISO 8601, in UTC.")


class ThoughtStore:
    """The latest thoughts; the oldest go when there are too many, or they are too long together.

    It may be used from several threads at once.

    Args:
        most: Thoughts kept.
        most_characters: Characters of all of them together.
    """

    def __init__(self, *, most: int = _MOST, most_characters: int = _MOST_CHARACTERS) -> None:
        self._most = most
        self._most_characters = most_characters
        self._characters = 0
        self._thoughts: deque[Thought] = deque()
        self._lock = threading.Lock()

    def add(self, thought: Thought) -> None:
        """Keeps a thought."""
        with self._lock:
            self._thoughts.append(thought)
            self._characters += _size(thought)
            while self._thoughts and (len(self._thoughts) > self._most or self._characters > self._most_characters):
                self._characters -= _size(self._thoughts.popleft())

    def list(self) -> list[Thought]:
        """All that are kept, oldest first."""
        with self._lock:
            return [*self._thoughts]

    def __len__(self) -> int:
        return len(self._thoughts)


def _size(thought: Thought) -> int:
    return len(thought.thought) + len(thought.context or "")


class Think(AgentTool):
    """Keeps a thought. `tool.thoughts.list()` gives all that are kept."""

    name: str = "think"
    description: str = (
        "Write down a thought before or between other steps: to plan, to weigh what was found, to check a "
        "conclusion. It runs nothing and changes nothing. Returns thought_id, thought, context and timestamp."
    )
    args_schema: Any = ThinkInput
    _thoughts: ThoughtStore = PrivateAttr(default_factory=ThoughtStore)

    @property
    def thoughts(self) -> ThoughtStore:
        """What was thought with this tool."""
        return self._thoughts

    def work(self, *, thought: str, context: str | None) -> dict[str, Any]:
        """Keeps the thought, and gives it back with its id and time."""
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = Thought(thought_id=uuid.uuid4().hex, thought=thought, context=context, timestamp=timestamp)
        self._thoughts.add(kept)
        return kept.model_dump()
