"""`TextActions`: an environment whose actions are what a language model writes."""

import string
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from videozoom.envs.messages import SampledPart
from videozoom.envs.observation import Observation
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import Status
from videozoom.envs.wrappers.base import question_env


class TextActions(gymnasium.Wrapper[Observation, str, Observation, Any], RecordConstructorArgs):
    r"""Offers a `Text` action space: a protocol reads the text, and writes the prompt it answers to.

    `info["prompt"]` is the prompt of the next step while there is one: messages with texts and clips, and the prefix
    the assistant's reply starts with, which does not belong to the action. A text of any length and alphabet is
    accepted: what cannot be read as an action costs a step, like every malformed action.

    Args:
        env: The environment.
        protocol: What turns observations into prompts and texts into actions.
        max_length: Characters of a text in the action space.

    Example:
        >>> env = TextActions(gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=tasks), LoveR1Protocol())
        >>> observation, info = env.reset(seed=0)
        >>> [message.role.value for message in info["prompt"].messages]
        ['system', 'user']
        >>> env.step("I need to zoom in on the video.\n\nA red border. \\boxed{[12, 16]}")[4]["action"]
        ZoomIn(span_s=Span(start_s=12.0, end_s=16.0), fps=None)
    """

    def __init__(self, env: gymnasium.Env[Observation, Any], protocol: Protocol, *, max_length: int = 4096) -> None:
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, protocol=protocol, max_length=max_length)
        gymnasium.Wrapper.__init__(self, env)
        self.protocol = protocol
        self.action_space = spaces.Text(max_length, min_length=0, charset=string.printable)
        self._env = question_env(env)
        self._spoken: tuple[SampledPart, ...] = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self._spoken = ()
        return observation, self._with_prompt(info)

    def step(self, action: str) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Read a text and take the step it asks for.

        Raises:
            ValueError: if `action` is no text.
        """
        if not isinstance(action, str):
            raise ValueError(f"An action of TextActions is a text, got {action!r}.")
        before = self._env.snapshot()
        # After a `restore` fewer texts count.
        self._spoken = (*self._spoken[: before.step], SampledPart(action))
        parsed = self.protocol.parse(action, before.observation())
        observation, reward, terminated, truncated, info = self.env.step(parsed)
        return observation, reward, terminated, truncated, self._with_prompt(info)

    def _with_prompt(self, info: dict[str, Any]) -> dict[str, Any]:
        if info["status"] != Status.RUNNING:
            return info
        return info | {"prompt": self.protocol.prompt(self._env.snapshot().observation(), self._spoken)}
