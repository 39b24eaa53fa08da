"""Cold-start samples for protocols that keep the transcript: what the annotator said before is part of the prompt.

Source: VideoZoomer, whose supervised data are whole conversations of a large model, with corrections of wrong zooms.
Here each round is a sample of its own, the annotator is a rule that knows what happens in the video, and what it says
after a wrong zoom (`wrong_clip_share`) is its correction.
"""

from collections.abc import Sequence

from videozoom.envs.actions import ZoomIn
from videozoom.envs.messages import Prompt, SampledPart
from videozoom.envs.observation import FrameSource, Observation, Turn
from videozoom.envs.protocols.base import TeachableProtocol
from videozoom.envs.protocols.videozoomer import FrameLayout, VideoZoomerProtocol
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.cold_start_data import ColdStartData


class TranscriptData(ColdStartData):
    """Draws supervised samples from tasks of generated videos. Implements `Annotator` for VideoZoomer."""

    def __init__(self, tasks: Sequence[Task], frames: FrameSource, protocol: VideoZoomerProtocol) -> None:
        """Take tasks whose metadata tell the events."""
        super().__init__(tasks, frames, protocol)
        self._rate = protocol.rate
        if protocol.frames is FrameLayout.IMAGES:
            self.frames_per_moment = 1

    def _prompt(self, observation: Observation, reasons: Sequence[str], protocol: TeachableProtocol) -> Prompt:
        zooms = zip(observation["turns"], reasons, strict=True)
        texts = (self.protocol.write(turn.action, reason, observation) for turn, reason in zooms)
        return protocol.prompt(observation, [SampledPart(text) for text in texts])

    def _turn(self, task: Task, span_s: Span) -> Turn:
        zoom = ZoomIn(span_s, self._rate(span_s))
        return Turn(zoom, self.frames.slow_clip(task.video, span_s, zoom.fps))
