"""What a tiny tokenizer is trained on covers what its model reads and writes."""

from pathlib import Path

import numpy as np
import pytest
from generated_world import GeneratedWorld, annotate, text_of

from videozoom.envs.generated.signs import CUES
from videozoom.envs.tasks import Task
from videozoom.experiments.cold_start_data import ColdStartData
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.policies.tokenizer import train_tokenizer


def test_words_of_every_sample_are_single_tokens(generated: GeneratedWorld, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(tiny_corpus(generated.tasks, annotate(generated, BlankFrames())), tmp_path)
    data = ColdStartData(generated.tasks, generated.frames, generated.protocol)
    rng = np.random.default_rng(3)
    samples = [draw(rng) for draw in (data.reading, data.grounding, data.cot) for _ in range(20)]
    pieces = set()
    for sample in samples:
        for text in (text_of(sample.prompt).replace("<video>", ""), sample.completion):
            pieces |= {tokenizer.decode([token]) for token in tokenizer.encode(text, add_special_tokens=False)}
    words = {piece.strip() for piece in pieces if piece.strip().isalpha()}
    assert {"scene", "shows", "Zoom", "answer", "boxed"} <= words
    whole = " ".join(text_of(sample.prompt) + sample.completion for sample in samples)
    # A word that was cut leaves a piece that stands nowhere as a word.
    assert all(f" {word} " in f" {''.join(c if c.isalpha() else ' ' for c in whole)} " for word in words)


def test_the_seed_decides_and_no_video_is_read(generated: GeneratedWorld) -> None:
    before = generated.frames.stats.num_clips
    first, again, other = (
        tiny_corpus(generated.tasks, annotate(generated, BlankFrames()), seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert generated.frames.stats.num_clips == before


@pytest.mark.parametrize("with_generated", [False, True])
def test_tasks_of_a_file_bring_their_questions_and_options(generated: GeneratedWorld, with_generated: bool) -> None:
    mine = Task("mine", Path("v.mp4"), 90.0, "Who knocks?", ("a baker", "a fox"), "A")
    corpus = tiny_corpus([mine, *generated.tasks] if with_generated else [mine], annotate(generated, BlankFrames()))
    assert {"Who knocks?", "a baker", "a fox"} <= set(corpus)
    assert any(cue in text for cue in CUES for text in corpus) is with_generated
