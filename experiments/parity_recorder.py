"""`TokenRecorder`: what a text model is given, token by token, whoever calls it and in whatever order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Token(NamedTuple):
    """A token as the model is given it."""

    content: int
    """Hash of its embedding: of a text token, or of what a vision tower made of a place in a clip."""
    position: tuple[int, int, int]
    """Time, row, column."""


class TokenRecorder:
    """Notes every token that a text model is given.

    Sampler and learner pack, pad and order tokens differently; what each token is and where it stands must agree.
    """

    def __init__(self, text_model: Any) -> None:
        """Take the model whose calls are noted inside `recording`."""
        self._text_model = text_model

    @contextmanager
    def recording(self) -> Iterator[list[Token]]:
        """Yield a list that grows with every token computed while the block runs."""
        tokens: list[Token] = []

        def note(_: Any, __: Any, arguments: dict[str, Any]) -> None:
            tokens.extend(_tokens(arguments["inputs_embeds"], arguments["position_ids"]))

        handle = self._text_model.register_forward_pre_hook(note, with_kwargs=True)
        try:
            yield tokens
        finally:
            handle.remove()


def _tokens(embeds_BTD: Any, positions_3BT: Any) -> Iterator[Token]:
    embeds: NDArray[np.float32] = embeds_BTD.detach().float().cpu().numpy()
    embeds = np.ascontiguousarray(embeds.reshape(-1, embeds.shape[-1]))
    positions = positions_3BT.cpu().expand(3, *embeds_BTD.shape[:2]).reshape(3, -1).T.tolist()
    for embed, (time, row, column) in zip(embeds, positions, strict=True):
        yield Token(hash(embed.tobytes()), (time, row, column))
