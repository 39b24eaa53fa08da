"""What outputs mean to LOVE-R1's released training and evaluation code, parser and span rules together."""

from dataclasses import replace

import pytest
from fuzzed_protocols import observe
from memory_world import make_env

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.observation import Turn
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX, LoveR1Protocol
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span

DURATION_S, HELD = 100.5, [Span(40.0, 50.0)]
Expected = tuple[float, float] | str
TRAINING = LoveR1Protocol(parser="released_rl", force_answer=False)
EVALUATION = LoveR1Protocol(parser="released_eval", force_after_malformed=True)

NO_BOX, NO_PREFIX, NO_SPAN = MalformedReason.NO_BOX, MalformedReason.NO_PREFIX, MalformedReason.NOT_A_SPAN
NO_LETTER, NO_OPTION, OUT = MalformedReason.NOT_A_LETTER, MalformedReason.UNKNOWN_OPTION, MalformedReason.OUT_OF_BOUNDS
SHORT, LONG, REPEATED = MalformedReason.TOO_SHORT, MalformedReason.TOO_LONG, MalformedReason.REPEATED
ZOOM, ANSWER = ZOOM_PREFIX, ANSWER_PREFIX


def meant(protocol: LoveR1Protocol, rules: SpanRules, text: str) -> Expected:
    """Return the span that is shown, the letter, or the reason, with a clip of [40, 50) held."""
    action = protocol.parse(text, observe(step=1, max_steps=4))  # type: ignore[arg-type]
    if isinstance(action, ZoomIn):
        span_s = rules.check(action.span_s, DURATION_S, HELD)
        return span_s.reason if isinstance(span_s, Malformed) else (span_s.start_s, span_s.end_s)
    assert isinstance(action, Answer | Malformed)
    return action.text if isinstance(action, Answer) else action.reason


OUTPUTS: list[tuple[str, Expected, Expected]] = [
    # Text, as training reads it, and as evaluation does: 5 s more on both sides, at least 100.5 / 8 = 12.5625 s.
    (ZOOM + r"\boxed{[10, 20]}", (10, 20), (5, 25)),
    (ZOOM + r"The red scene is near the start. \boxed{[10,20]}", (10, 20), (5, 25)),
    (ZOOM + r"\boxed{[20, 10]}", (10, 20), (5, 25)),
    (ZOOM + r"\boxed{[ 10 , 20 ]}", (10, 20), (5, 25)),
    (ZOOM + "\\boxed{[10,\n20]}", (10, 20), (5, 25)),
    (ZOOM + "\\boxed{[10,\x1d20]}", (10, 20), (5, 25)),  # A space to `strip`, none to `float`.
    (ZOOM + r"\boxed{ [10, 20] }", NO_SPAN, (5, 25)),
    (ZOOM + r"\boxed{[10, 20] }", NO_SPAN, (5, 25)),
    (ZOOM + r"\boxed{[10.5, 20]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[10.0, 20.0]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[0:10, 0:20]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[10, 20], [30, 40]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[[10, 20]]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[10, 20, 30]}", NO_SPAN, (5, 25)),
    (ZOOM + r"\boxed{[30, 20, 10]}", NO_SPAN, (5, 25)),
    (ZOOM + r"\boxed{[10]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[10, ]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{10, 20}", NO_SPAN, NO_LETTER),
    (ZOOM + r"\boxed{(10, 20)}", NO_SPAN, NO_LETTER),
    (ZOOM + r"\boxed{[start, end]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[nan, 20]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[10, inf]}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[1e1, 20]}", NO_SPAN, NO_SPAN),
    (ZOOM + r'\boxed{["10", "20"]}', NO_SPAN, NO_SPAN),
    (ZOOM + "\\boxed{[\uff11\uff10, 20]}", NO_SPAN, NO_SPAN),
    (ZOOM + rf"\boxed{{[10, {'9' * 400}]}}", NO_SPAN, NO_SPAN),
    (ZOOM + r"\boxed{[+10, 20]}", (10, 20), (5, 25)),
    (ZOOM + r"\boxed{[-10, 20]}", OUT, (0, 25)),
    (ZOOM + r"\boxed{[-0, 10]}", (0, 10), (0, 15)),
    (ZOOM + r"\boxed{[90, 101]}", (90, 100.5), (85, 100)),  # The last whole second.
    (ZOOM + r"\boxed{[90, 102]}", OUT, (85, 100)),
    (ZOOM + r"\boxed{[0, 50]}", (0, 50), (0, 55)),
    (ZOOM + r"\boxed{[0, 51]}", LONG, (0, 56)),
    (ZOOM + r"\boxed{[0, 100]}", LONG, (0, 100)),
    (ZOOM + r"\boxed{[10, 10]}", SHORT, (3.71875, 16.28125)),
    (ZOOM + r"\boxed{[10, 11]}", (10, 11), (4.21875, 16.78125)),
    (ZOOM + r"\boxed{[0, 1]}", (0, 1), (0, 9.28125)),  # [0, 6) widened around 3, and cut.
    (ZOOM + r"\boxed{[104, 110]}", OUT, SHORT),  # [99, 100) is left.
    (ZOOM + r"\boxed{[200, 210]}", OUT, OUT),
    (ZOOM + r"\boxed{[40, 50]}", REPEATED, REPEATED),
    (ZOOM + r"\boxed{[42, 50]}", REPEATED, REPEATED),  # IoU 0.8; [37, 55): 10 / 18.
    (ZOOM + r"\boxed{[43, 50]}", (43, 50), REPEATED),  # IoU 0.7 is not above it.
    (ZOOM + r"\boxed{[45, 60]}", (45, 60), REPEATED),  # [40, 65): 10 / 25.
    (ZOOM + r"\boxed{[55, 80]}", (55, 80), (50, 85)),
    (ZOOM + r"\boxed{[10, 20]} or \boxed{[60, 70]}", (10, 20), (55, 75)),
    (ZOOM + r"\boxed{[10, 20]} or \boxed{[60", (10, 20), NO_BOX),
    (ZOOM + r"\boxed{[10, 20]", NO_BOX, NO_BOX),
    (ZOOM + "[10, 20]", NO_BOX, NO_BOX),
    (ZOOM, NO_BOX, NO_BOX),
    ("", NO_PREFIX, NO_BOX),
    (r"\boxed{[10, 20]}", NO_PREFIX, (5, 25)),
    (" " + ZOOM + r"\boxed{[10, 20]}", NO_PREFIX, (5, 25)),
    (ZOOM.lower() + r"\boxed{[10, 20]}", NO_PREFIX, (5, 25)),
    (ANSWER + r"\boxed{[10, 20]}", NO_LETTER, (5, 25)),
    (ZOOM + r"\boxed{B}", NO_SPAN, "B"),
    (ZOOM + r"\boxed{{[10, 20]}}", NO_SPAN, NO_LETTER),
    (ANSWER + r"\boxed{B}", "B", "B"),
    (ANSWER + r"\boxed{ B }", NO_LETTER, "B"),
    (ANSWER + r"\boxed{b}", "B", NO_LETTER),
    (ANSWER + r"\boxed{(B)}", NO_LETTER, "B"),
    (ANSWER + r"\boxed{B. lines}", "B", "B"),
    (ANSWER + r"\boxed{Because}", "B", "B"),
    (ANSWER + r"\boxed{The Dog is B}", NO_OPTION, "D"),
    (ANSWER + r"\boxed{E}", NO_OPTION, NO_LETTER),
    (ANSWER + r"\boxed{}", NO_LETTER, NO_LETTER),
    (ANSWER + r"\boxed{\text{C}}", NO_LETTER, "C"),
    (ANSWER + r"\boxed{A} or \boxed{C}", "A", "C"),
    (ANSWER + "B", NO_BOX, NO_BOX),
    (ANSWER + r"\boxed{A, B}", "A", "A"),
    (ANSWER + r"\boxed{7}", NO_LETTER, NO_LETTER),
    (r"\boxed{C}", NO_PREFIX, "C"),
    (r"The answer is \boxed{C}.", NO_PREFIX, "C"),
    (ANSWER + r"\boxed{C", NO_BOX, NO_BOX),
    (ANSWER.strip() + r"\boxed{D}", "D", "D"),
    (ANSWER + r"\boxed {D}", NO_BOX, NO_BOX),
    (ANSWER + "\\boxed{\u00df}", NO_LETTER, NO_LETTER),
]


def test_the_table_is_long_enough_and_tells_the_parsers_apart() -> None:
    assert len({text for text, *_ in OUTPUTS}) == len(OUTPUTS) >= 60
    assert sum(training != evaluation for _, training, evaluation in OUTPUTS) > 30


@pytest.mark.parametrize(("text", "training", "evaluation"), OUTPUTS)
def test_outputs_as_released_code_reads_them(text: str, training: Expected, evaluation: Expected) -> None:
    assert meant(TRAINING, SpanRules(), text) == training
    assert meant(EVALUATION, SpanRules.evaluation(), text) == evaluation


@pytest.mark.parametrize(
    ("text", "training", "evaluation"),
    [
        (ZOOM + r"\boxed{ [10, 20] }", (10, 20), (5, 25)),
        (ZOOM + r"\boxed{[10, 20, 30]}", NO_SPAN, NO_SPAN),
        (ZOOM + r"\boxed{{[10, 20]}}", NO_SPAN, NO_LETTER),
        (ANSWER + r"\boxed{ b }", "B", "B"),
        (ANSWER + r"\boxed{(B)}", "B", "B"),
        (ANSWER + r"\boxed{Because}", NO_LETTER, NO_LETTER),
        (ANSWER + r"\boxed{The Dog is B}", NO_LETTER, NO_LETTER),
        (ANSWER + r"\boxed{A, B}", NO_LETTER, NO_LETTER),
        (ANSWER + r"\boxed{E}", NO_OPTION, NO_OPTION),
    ],
)
def test_what_is_mended_in_both(text: str, training: Expected, evaluation: Expected) -> None:
    assert meant(LoveR1Protocol(parser="rl"), SpanRules(), text) == training
    assert meant(LoveR1Protocol(parser="eval"), SpanRules.evaluation(), text) == evaluation


def test_training_never_forces_an_answer_and_still_forces_single_zooms() -> None:
    last, zoom_step = observe(step=2, max_steps=3), observe(episode_kind=1, max_steps=1)
    assert TRAINING.prompt(last).assistant_prefix == ""  # type: ignore[arg-type]
    assert TRAINING.parse(r"\boxed{A}", last) == Malformed(NO_PREFIX)  # type: ignore[arg-type]
    assert TRAINING.prompt(zoom_step).assistant_prefix == ZOOM  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "prefix"), [(Malformed(REPEATED), ANSWER), (Malformed(NO_BOX), ANSWER), (ZoomIn(HELD[0]), "")]
)
def test_evaluation_forces_an_answer_once_an_output_is_of_no_use(action: Action, prefix: str) -> None:
    observation = observe(step=1, max_steps=4, turns=(Turn(action),))
    assert EVALUATION.prompt(observation).assistant_prefix == prefix  # type: ignore[arg-type]
    assert LoveR1Protocol().prompt(observation).assistant_prefix == ""  # type: ignore[arg-type]


def test_only_short_spans_are_widened_if_so_told() -> None:
    cold_start = replace(SpanRules(), expand_to_s=6.0, expand_below_s=5.0, expand_max_fraction=1.0)
    assert cold_start.check(Span(10.0, 14.0), DURATION_S) == Span(9.0, 15.0)
    assert cold_start.check(Span(10.0, 15.0), DURATION_S) == Span(10.0, 15.0)
    assert cold_start.check(Span(10.0, 15.5), DURATION_S) == Span(10.0, 15.5)


def test_evaluation_shows_the_whole_video_where_no_zoom_was_accepted() -> None:
    def shown(*actions: Action, whole_clip_if_refused: bool = True) -> list[Span]:
        env = make_env(span_rules=rules, max_steps=4, whole_clip_if_refused=whole_clip_if_refused)
        observation, _ = env.reset(options={"task": "t0"})
        for action in actions:
            observation, *_ = env.step(action)
        zooms = [it for it in actions if isinstance(it, ZoomIn) and it is not outside]
        assert len(env.snapshot().facts().spans_s) == len(zooms)
        return [clip.span_s for clip in observation["clips"]]

    rules, whole = SpanRules.evaluation(), Span(0.0, 64.0)
    zoom, refused, outside = ZoomIn(Span(10.0, 30.0)), Malformed(NO_BOX), ZoomIn(Span(90.0, 99.0))
    accepted = rules.check(zoom.span_s, 64.0)
    assert shown(refused, whole_clip_if_refused=False) == []
    assert shown(refused) == shown(outside) == shown(refused, outside) == [whole]
    assert shown(zoom, refused) == [accepted]
    assert shown(refused, zoom) == [whole, accepted]


def test_a_whole_clip_that_cannot_be_read_ends_the_episode() -> None:
    env = make_env("slow_clip", max_steps=4, whole_clip_if_refused=True)
    env.reset(options={"task": "t0"})
    _, reward, terminated, _, info = env.step(Malformed(NO_BOX))
    assert (reward, terminated, info["status"]) == (0.0, True, "error_decode")
    assert "slow_clip is broken" in info["error"]
    assert len(env.snapshot().turns) == 1
