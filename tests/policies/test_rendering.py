import numpy as np
import pytest
from policy_prompts import random_clip

from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.tasks import Span
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.rendering import RenderedPrompt, Renderer

QUESTION = Message(Role.USER, (TextPart("Which sign?"), VideoPart(random_clip("v", 4, 28, Span(0.0, 8.0)))))
REPLY = Message(Role.USER, (TextPart("Look again."), VideoPart(random_clip("w", 2, 28, Span(0.0, 4.0)))))


@pytest.fixture
def renderer(policy: QwenVLPolicy) -> Renderer:
    return policy.renderer


def follow_up(spoken: SampledPart) -> Prompt:
    return Prompt((QUESTION, Message(Role.ASSISTANT, (spoken,)), REPLY))


def letters(renderer: Renderer, text: str) -> tuple[int, ...]:
    """Return ids of `text`, one for each letter: not those that tokenising it as a whole gives."""
    return tuple(token_id for letter in text for token_id in renderer.encode(letter))


def assert_extends(renderer: Renderer, longer: RenderedPrompt, sampled: tuple[int, ...]) -> None:
    first = renderer.render(Prompt((QUESTION,)))
    num_tokens = len(first.token_ids)
    assert longer.token_ids[: num_tokens + len(sampled)].tolist() == [*first.token_ids.tolist(), *sampled]
    assert np.array_equal(longer.position_ids[:, :num_tokens], first.position_ids)
    positions = longer.position_ids[:, num_tokens : num_tokens + len(sampled)]
    assert np.array_equal(positions, first.completion_positions(len(sampled)))


def test_sampled_tokens_are_read_as_they_were_drawn(renderer: Renderer) -> None:
    text = "The red scene shows bars."
    sampled = (*letters(renderer, text), renderer.turn_end_id)
    assert sampled != (*renderer.encode(text), renderer.turn_end_id)
    longer = renderer.render(follow_up(SampledPart(text, sampled)))
    assert_extends(renderer, longer, sampled)
    assert longer.token_ids.tolist().count(renderer.turn_end_id) == 3  # the question's, the sampled one, the reply's


def test_a_turn_that_was_stopped_before_its_end_is_closed(renderer: Renderer) -> None:
    sampled = letters(renderer, "zoom")
    longer = renderer.render(follow_up(SampledPart("zoom", sampled)))
    assert_extends(renderer, longer, sampled)
    after = len(renderer.render(Prompt((QUESTION,))).token_ids) + len(sampled)
    assert longer.token_ids[after] == renderer.turn_end_id


def test_both_ends_of_a_turn_are_followed_by_the_same_tokens(renderer: Renderer) -> None:
    sampled = letters(renderer, "zoom")
    closed = renderer.render(follow_up(SampledPart("zoom", sampled)))
    ended = renderer.render(follow_up(SampledPart("zoom", (*sampled, renderer.turn_end_id))))
    assert np.array_equal(closed.token_ids, ended.token_ids)


def test_text_that_nobody_sampled_is_tokenised(renderer: Renderer) -> None:
    spoken, written = SampledPart("The red scene."), TextPart("The red scene.")
    rendered = renderer.render(follow_up(spoken))
    by_hand = renderer.render(Prompt((QUESTION, Message(Role.ASSISTANT, (written,)), REPLY)))
    assert np.array_equal(rendered.token_ids, by_hand.token_ids)
    assert np.array_equal(rendered.position_ids, by_hand.position_ids)


def test_parts_of_one_run_of_video_share_its_markers(renderer: Renderer) -> None:
    clips = [random_clip("v", 4, 28, Span(0.0, 8.0)), random_clip("w", 2, 56, Span(8.0, 10.0))]

    def rendered(goes_on: bool) -> RenderedPrompt:
        parts = (VideoPart(clips[0]), VideoPart(clips[1], goes_on=goes_on), TextPart("Which sign?"))
        return renderer.render(Prompt((Message(Role.USER, parts),)))

    one_run, apart = rendered(True), rendered(False)
    start, end = (renderer.encode(marker)[0] for marker in ("<|vision_start|>", "<|vision_end|>"))
    for prompt, num_markers in ((one_run, 1), (apart, 2)):
        ids = prompt.token_ids.tolist()
        assert (ids.count(start), ids.count(end)) == (num_markers, num_markers)
        assert prompt.num_visual_tokens == ids.count(renderer.video_pad_id) == 2 + 4
    first, second = one_run.clip_starts
    assert second == first + 2
    # A clip begins behind the positions of the one before it, on every axis.
    assert (one_run.position_ids[:, second] == one_run.position_ids[:, first:second].max() + 1).all()
