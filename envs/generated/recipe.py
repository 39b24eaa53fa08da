"""The dials of generated videos."""

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import comb
from typing import Any

from videozoom.envs.generated.signs import CUES, SIGNS
from videozoom.envs.tasks import OPTION_LETTERS, QuestionKind

GENERATOR_VERSION = 3
"""Raise it when the same recipe would give other videos or tasks."""


class RecipeError(ValueError):
    """A dial has an impossible value. The message is one sentence with the value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecipe:
    """How many videos to generate, and how hard they are. Equal recipes give equal videos and tasks.

    A video shows muted background scenes and a few *events*: a coloured frame (the cue, visible in the fast view)
    around a panel with a *sign* (the detail, legible only in a slow clip). A question asks for the sign of a cue.
    With `legibility`, some events also carry a *mark* that tells the sign in the fast view.

    A fast view hides the signs if its pixels are the means of whole blocks (`block_px`, 4 by default): with
    `Resize.AREA` and a frame size that divides the video's by `block_px` or a multiple of it. A slow clip shows the
    signs down to one pixel per cell.

    Example:
        >>> VideoRecipe(num_videos=2, length_s=64.0, seed=7).num_events
        4
    """

    num_videos: int
    length_s: float | tuple[float, float] = 64.0
    """Length of each video, or the smallest and largest; drawn in multiples of `event_length_s`."""
    fps: float = 2.0
    width_px: int = 112
    height_px: int = 112
    num_events: int | tuple[int, int] = 4
    """Events with a sign, or the fewest and most; their cues differ."""
    event_length_s: float = 4.0
    aligned: bool = True
    """Whether events start at multiples of their length."""
    decoy_probability: float = 0.0
    """Chance, for each queried cue, that blank events show the same cue elsewhere in the video."""
    num_decoys: int = 1
    """Blank events for a cue that has any."""
    cell_px: int = 2
    """Side of one of a sign's 4x4 cells; the detail vanishes when 2 cells fall into one pixel."""
    detail_tiles: int = 5
    """The panel repeats the sign this many times in each direction."""
    habit: float = 0.0
    """Chance that an event shows the usual sign of its cue (`signs.usual_sign`), known without looking; others
    show any. Recipes that differ in this only have the same scenes."""
    legibility: float = 0.0
    """Chance that an event carries a mark, a large patch beside the panel that tells its sign in the fast view too (and
    that it is no decoy). Recipes that differ in this only give the same videos but for the marks, and a higher one adds
    marks to those of a lower one."""
    evidence_events: int = 1
    """Events a question needs; with 2 or more the answer lists a sign for each."""
    questions_per_video: int = 1
    num_options: int = 4
    fixed_options: bool = True
    """Whether a letter always stands for the same option; otherwise options are drawn and shuffled."""
    question_kinds: tuple[QuestionKind | str, ...] = (QuestionKind.MULTIPLE_CHOICE,)
    """Kinds of the questions, which take turns. The videos stay the same."""
    quality: int = 12
    """x264 constant rate factor; lower is better and larger. Up to 12 the encoder leaves no trace of a sign in the fast
    view of 1,500 videos; from 16 on a classifier begins to find some."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def content_hash(self) -> str:
        """12 hexadecimal digits that name the content of a video given its index.

        `num_videos` does not enter: more videos of a recipe begin with the same ones.
        """
        return self._hash("num_videos")

    @property
    def scenes_hash(self) -> str:
        """The same for where scenes are: equal for recipes that differ in `habit`, `legibility` or questions only."""
        return self._hash("num_videos", "habit", "legibility", "question_kinds")

    def _hash(self, *left_out: str) -> str:
        values = self.as_dict() | {"version": GENERATOR_VERSION}
        values = {name: value for name, value in values.items() if name not in left_out}
        return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=6).hexdigest()

    @property
    def length_range_s(self) -> tuple[float, float]:
        """Smallest and largest length of a video."""
        return self.length_s if isinstance(self.length_s, tuple) else (self.length_s, self.length_s)

    @property
    def num_events_range(self) -> tuple[int, int]:
        """Fewest and most events with a sign."""
        return self.num_events if isinstance(self.num_events, tuple) else (self.num_events, self.num_events)

    @property
    def block_px(self) -> int:
        """Side of the block over which every sign has the same mean: two cells."""
        return 2 * self.cell_px

    @property
    def frames_per_event(self) -> int:
        """Frames an event lasts."""
        return round(self.event_length_s * self.fps)

    @property
    def signs_per_place(self) -> int:
        """How many signs compete for each place of an answer: `num_options ** (1 / evidence_events)`, rounded up."""
        count = 1
        while count**self.evidence_events < self.num_options:
            count += 1
        return count

    def as_dict(self) -> dict[str, Any]:
        """Return the dials as plain JSON values; newer ones only if they are set, so that older folders stay valid."""
        values = asdict(self)
        if self.question_kinds == (QuestionKind.MULTIPLE_CHOICE,):
            del values["question_kinds"]
        for name in ("habit", "legibility"):
            if not values[name]:
                del values[name]
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]


def _check(recipe: VideoRecipe) -> None:
    def need(fine: bool, name: str, allowed: str) -> None:
        if not fine:
            raise RecipeError(f"{name} is {getattr(recipe, name)!r} but must be {allowed}.")

    need(recipe.num_videos >= 1, "num_videos", "at least 1")
    need(recipe.fps > 0, "fps", "positive")
    need(_is_whole(recipe.event_length_s * recipe.fps, 1), "event_length_s", "a whole number of frames, at least one")
    shortest_s, longest_s = recipe.length_range_s
    need(
        shortest_s <= longest_s
        and all(_is_whole(length / recipe.event_length_s, 1) for length in (shortest_s, longest_s)),
        "length_s",
        f"multiples of event_length_s ({recipe.event_length_s:g}), the smaller first",
    )
    need(recipe.cell_px >= 2 and recipe.cell_px % 2 == 0, "cell_px", "even and at least 2")
    panel_px = (recipe.detail_tiles * 2 + 6) * recipe.block_px
    need(recipe.detail_tiles >= 1, "detail_tiles", "at least 1")
    for name in ("width_px", "height_px"):
        side_px = getattr(recipe, name)
        allowed = f"a multiple of {recipe.block_px} and at least {panel_px} for this detail size"
        need(side_px % recipe.block_px == 0 and side_px >= panel_px, name, allowed)
    fewest, most = recipe.num_events_range
    need(1 <= fewest <= most <= len(CUES), "num_events", f"between 1 and {len(CUES)}, the smaller first")
    need(1 <= recipe.evidence_events <= fewest, "evidence_events", f"between 1 and the number of events ({fewest})")
    num_questions = comb(fewest, recipe.evidence_events)
    need(1 <= recipe.questions_per_video <= num_questions, "questions_per_video", f"between 1 and {num_questions}")
    need(0.0 <= recipe.decoy_probability <= 1.0, "decoy_probability", "between 0 and 1")
    need(0.0 <= recipe.habit <= 1.0, "habit", "between 0 and 1")
    need(0.0 <= recipe.legibility <= 1.0, "legibility", "between 0 and 1")
    need(
        bool(recipe.question_kinds) and set(recipe.question_kinds) <= set(QuestionKind),
        "question_kinds",
        f"at least one of {', '.join(QuestionKind)}",
    )
    need(recipe.num_decoys >= 1, "num_decoys", "at least 1; set decoy_probability to 0 for none")
    need(2 <= recipe.num_options <= len(OPTION_LETTERS), "num_options", f"between 2 and {len(OPTION_LETTERS)}")
    most_options = len(SIGNS) ** recipe.evidence_events
    need(recipe.num_options <= most_options, "num_options", f"at most {most_options}, the number of possible answers")
    if recipe.fixed_options:
        exact = recipe.signs_per_place**recipe.evidence_events == recipe.num_options
        need(
            exact,
            "num_options",
            f"a number to the power of evidence_events ({recipe.evidence_events}) if options are fixed",
        )
    need(0 <= recipe.quality <= 51, "quality", "between 0 and 51")
    num_decoys = recipe.num_decoys * min(most, recipe.questions_per_video * recipe.evidence_events)
    num_slots = most + (num_decoys if recipe.decoy_probability > 0 else 0)
    need(
        num_slots * recipe.event_length_s <= shortest_s,
        "length_s",
        f"at least {num_slots * recipe.event_length_s:g} to hold {num_slots} events",
    )


def _is_whole(value: float, least: int) -> bool:
    return Fraction(value).limit_denominator(10**6).denominator == 1 and value >= least - 1e-9
