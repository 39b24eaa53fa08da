"""The seam between the world and language models."""

from collections.abc import Sequence
from typing import Any, Self
from typing import Protocol as TypingProtocol

from videozoom.envs.actions import Action
from videozoom.envs.messages import Prompt, SampledPart
from videozoom.envs.observation import VideoClip


class Protocol(TypingProtocol):
    """Turns observations into prompts and text into actions; owns everything textual.

    Observations are those of the protocol's own environment: `Observation`, or `CaptionObservation`.
    """

    name: str

    def prompt(self, observation: Any, spoken: Sequence[SampledPart] = ()) -> Prompt:
        """Return the prompt of the next step, with the assistant prefix the step forces, if any.

        Args:
            observation: What the agent sees.
            spoken: What the assistant wrote in each step so far; protocols that keep no transcript need none.
        """
        ...

    def parse(self, text: str, observation: Any) -> Action:
        """Return what `text`, the assistant's completion after the prefix, asks for.

        Never raises: what cannot be read is `Malformed`. Span rules are the environment's, not checked here.
        """
        ...

    def write(self, action: Action, reasoning: str, observation: Any) -> str:
        """Return the completion that `parse` reads as `action`: the inverse of `parse`.

        Leaves out the prefix when the prompt of `observation` already forces it.
        """
        ...


class TeachableProtocol(Protocol, TypingProtocol):
    """A protocol about frames that can show them outside of episodes, too, to a model that learns to read them."""

    def without_instruction(self) -> Self:
        """Return the same protocol without a word about zooming and answering."""
        ...

    def prompt_on_clip(self, clip: VideoClip, header: str, question: str) -> Prompt:
        """Return a prompt about one clip alone."""
        ...
