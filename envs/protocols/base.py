"""The seam between the world and language models."""

from typing import Protocol as TypingProtocol

from videozoom.envs.actions import Action
from videozoom.envs.messages import Prompt
from videozoom.envs.observation import Observation


class Protocol(TypingProtocol):
    """Turns observations into prompts and text into actions; owns everything textual."""

    name: str

    def prompt(self, observation: Observation) -> Prompt:
        """Return the prompt of the next step, with the assistant prefix the step forces, if any."""
        ...

    def parse(self, text: str, observation: Observation) -> Action:
        """Return what `text`, the assistant's completion after the prefix, asks for.

        Never raises: what cannot be read is `Malformed`. Span rules are the environment's, not checked here.
        """
        ...

    def write(self, action: Action, reasoning: str, observation: Observation) -> str:
        """Return the completion that `parse` reads as `action`: the inverse of `parse`.

        Leaves out the prefix when the prompt of `observation` already forces it.
        """
        ...
