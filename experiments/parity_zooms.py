"""`MadeUpZooms`: a protocol that takes nonsense for zooms, so that an untrained model's episodes have clips."""

import zlib
from collections.abc import Sequence
from typing import Any

from videozoom.envs.actions import Action, GetCaption, Malformed, ZoomIn
from videozoom.envs.messages import Prompt, SampledPart
from videozoom.envs.observation import EPISODE_KINDS
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import EpisodeKind, Span


class MadeUpZooms:
    """Another protocol, but for completions that are no action: where a zoom is allowed, they are one.

    The span depends on the text, so that the members of a group see different clips, or read different captions.
    """

    def __init__(self, protocol: Protocol, *, min_length_s: float, max_length_s: float, max_fraction: float) -> None:
        """Take a protocol and the rules that spans must keep."""
        self.name = protocol.name
        self.num_made_up = 0
        self._protocol = protocol
        self._min_length_s, self._max_length_s, self._max_fraction = min_length_s, max_length_s, max_fraction

    def prompt(self, observation: Any, spoken: Sequence[SampledPart] = ()) -> Prompt:
        return self._protocol.prompt(observation, spoken)

    def write(self, action: Action, reasoning: str, observation: Any) -> str:
        return self._protocol.write(action, reasoning, observation)

    def parse(self, text: str, observation: Any) -> Action:
        action = self._protocol.parse(text, observation)
        is_last = observation["step"] + 1 == observation["max_steps"]
        is_zoom_step = EPISODE_KINDS[observation["episode_kind"]] is EpisodeKind.ZOOM_STEP
        if not isinstance(action, Malformed) or (is_last and not is_zoom_step):
            return action
        self.num_made_up += 1
        share = zlib.crc32(text.encode()) / 2**32
        if "captions" in observation:
            return GetCaption((1 + int(share * observation["width"]), 1))
        duration_s = observation["fast_view"].span_s.end_s
        most_s = min(self._max_length_s, self._max_fraction * duration_s)
        length_s = max(self._min_length_s, most_s / 2)
        start_s = (duration_s - length_s) * share
        return ZoomIn(Span(start_s, start_s + length_s))
