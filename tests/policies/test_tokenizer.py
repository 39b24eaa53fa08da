"""The tokenizer of tiny models: words where it was trained, bytes elsewhere, Qwen's special tokens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from videozoom.policies.tokenizer import SPECIAL_TOKENS, train_tokenizer

CORPUS = ["The red scene is at 12 to 16.", "Which sign appears in the red scene?\nA. bars"] * 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CORPUS, folder)
    return AutoTokenizer.from_pretrained(folder)


def pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, add_special_tokens=False)]


def test_known_words_are_one_token_and_digits_stand_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    assert pieces(tokenizer, "The red scene is at 126.") == ["The", " red", " scene", " is", " at", " ", *"126", "."]


def test_a_number_is_read_the_same_wherever_it_stands(tokenizer: PreTrainedTokenizerBase) -> None:
    assert pieces(tokenizer, "[12, 16]")[:3] == ["[", "1", "2"]


def test_unknown_words_are_pieces(tokenizer: PreTrainedTokenizerBase) -> None:
    """Control: a word becomes one token only by being in the corpus."""
    assert len(pieces(tokenizer, " zebra")) > 1


@given(st.text())
def test_any_text_survives(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_are_one_token(tokenizer: PreTrainedTokenizerBase, token: str) -> None:
    assert pieces(tokenizer, f"a{token}b") == ["a", token, "b"]


def test_the_chat_template_writes_turns_as_qwen_does(tokenizer: PreTrainedTokenizerBase) -> None:
    content = [{"type": "text", "text": "Look:"}, {"type": "video"}, {"type": "text", "text": "Which?"}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nLook:<|vision_start|><|video_pad|><|vision_end|>Which?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_limit_on_the_vocabulary_holds(tmp_path: Path) -> None:
    smallest = len(train_tokenizer([], tmp_path))
    assert len(train_tokenizer(CORPUS, tmp_path, max_vocabulary=smallest + 5)) == smallest + 5
