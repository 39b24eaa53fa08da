"""Policy behind an OpenAI-compatible chat server: frames go out as images, text comes back."""

import copy
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image

from videozoom.envs.messages import Message, Prompt, Role, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span
from videozoom.policies.base import Completion, FinishReason, Request
from videozoom.policies.chat_client import ChatClient, EndpointError, RequestRejected
from videozoom.policies.chat_content import ChatContent
from videozoom.policies.chat_reply import ChatReply, read_reply
from videozoom.policies.parallel import as_completed
from videozoom.policies.sampling import Sampling


class PrefixMode(StrEnum):
    """How the prefix that a step forces on the assistant reaches the model."""

    CONTINUE = "continue"
    """As the beginning of the assistant's message, which the server is asked to continue (vLLM, SGLang and others)."""
    ASK = "ask"
    """In words, at the end of the user's message; the reply may begin with it or not."""
    AUTO = "auto"
    """`continue` where the server accepts such a request, else `ask`."""


_ASK = "\n\nBegin your reply with exactly these words: {prefix}"
_TRIAL_PREFIX = "The picture shows"
_TRIAL = Message(Role.USER, (TextPart("What does the picture show?"),))
_MAX_TRIAL_TOKENS = 16


class EndpointPolicy:
    """Acts through a chat server; one request per completion, `client.max_parallel` of them at once.

    A reply that cannot be used (no JSON, no text, a request refused for its length) is an empty completion with
    `error`: the episode goes on, and its protocol reads that as no action. A server that cannot be used raises.

    Args:
        client: The connection.
        model: What the server calls the model.
        sampling: How it draws tokens; `seed` is sent for each request unless it is greedy, `top_k` only if it is set.
        content: How frames are written.
        prefix: How forced prefixes reach the model.
        extra: Further fields of each request, `None` to leave one of ours out: servers differ in what they know.

    Example:
        >>> policy = EndpointPolicy(ChatClient("http://127.0.0.1:8000/v1"), "Qwen/Qwen2.5-VL-7B-Instruct")
        >>> policy.check()
        >>> [completion] = policy.act([request])
    """

    def __init__(
        self,
        client: ChatClient,
        model: str,
        sampling: Sampling | None = None,
        *,
        content: ChatContent | None = None,
        prefix: PrefixMode = PrefixMode.AUTO,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.client, self.model, self.prefix = client, model, PrefixMode(prefix)
        self.sampling = sampling if sampling is not None else Sampling()
        self.content = content if content is not None else ChatContent()
        self.extra = dict(extra or {})
        self._trials = _Trials()

    def with_sampling(self, sampling: Sampling) -> "EndpointPolicy":
        """Return the same policy with another sampling."""
        twin = copy.copy(self)
        twin.sampling = sampling
        return twin

    def greedy(self, max_new_tokens: int) -> "EndpointPolicy":
        """Return a policy that asks for the most likely tokens."""
        return self.with_sampling(replace(self.sampling, temperature=0.0, max_new_tokens=max_new_tokens))

    def check(self, *, with_images: bool = True) -> None:
        """Ask the server something small, to see that address, key, model and fields of a request are right.

        Args:
            with_images: Whether the question comes with a picture.

        Raises:
            EndpointError: they are not, or the server does not accept images.
        """
        picture = (VideoPart(_trial_clip()),) if with_images else ()
        messages = (replace(_TRIAL, content=(*picture, *_TRIAL.content)),)
        if self.prefix is PrefixMode.AUTO:
            with suppress(RequestRejected):
                self._try(messages, PrefixMode.CONTINUE)
                return
        try:
            self._try(messages, PrefixMode.ASK if self.prefix is PrefixMode.AUTO else self.prefix)
        except RequestRejected as rejection:
            what = f"a short question{' about a picture' if with_images else ''} for the model {self.model!r}"
            raise EndpointError(f"The chat server at {self.client.base_url} refuses {what} ({rejection})") from None

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order.

        Raises:
            EndpointError: the server cannot be used, or goes on failing after all retries.
        """
        if not requests:
            return []
        with self._trials.lock:
            if self._trials.mode is None:
                self.check(with_images=any(True for request in requests for _ in request.prompt.clips()))
        return [it for _, it in sorted(as_completed(self._complete, requests, self.client.max_parallel), key=_position)]

    def _try(self, messages: tuple[Message, ...], mode: PrefixMode) -> None:
        body = self._body(Prompt(messages, _TRIAL_PREFIX), mode, seed=0)
        if body.get("max_tokens"):
            body["max_tokens"] = min(body["max_tokens"], _MAX_TRIAL_TOKENS)
        self.client.post(body, is_first=True)
        self._trials.mode = mode

    def _complete(self, request: Request) -> Completion:
        assert self._trials.mode is not None  # `act` has seen to it
        seed = int(np.random.SeedSequence(request.seed).generate_state(1)[0] >> 1)
        try:
            reply = read_reply(self.client.post(self._body(request.prompt, self._trials.mode, seed)))
        except RequestRejected as rejection:
            reply = ChatReply(error=f"the server refused the request: {rejection}")
        text = _without_prefix(_with_stop(reply, self.sampling.stop), request.prompt.assistant_prefix)
        return Completion(
            text,
            FinishReason.LENGTH if reply.finish_reason == "length" else FinishReason.STOP,
            num_prompt_tokens=reply.num_prompt_tokens,
            num_visual_tokens=reply.num_visual_tokens,
            sampling=self.sampling,
            reported_tokens=reply.num_tokens,
            error=reply.error,
        )

    def _body(self, prompt: Prompt, mode: PrefixMode, seed: int) -> dict[str, Any]:
        sampling = self.sampling
        fields: dict[str, Any] = {
            "model": self.model,
            "messages": self.content.messages(_with_prefix(prompt, mode)),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.top_p < 1.0 else None,
            "top_k": sampling.top_k or None,
            "seed": seed if sampling.temperature else None,
            "stop": list(sampling.stop) or None,
        }
        if mode is PrefixMode.CONTINUE and prompt.assistant_prefix:
            fields |= {"add_generation_prompt": False, "continue_final_message": True}
        return {name: value for name, value in (fields | self.extra).items() if value is not None}


class _Trials:
    """What is known of a server; copies of a policy share it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.mode: PrefixMode | None = None
        """How prefixes reach the model; `None` before the first request."""


def _with_prefix(prompt: Prompt, mode: PrefixMode) -> tuple[Message, ...]:
    """Return the messages with the forced prefix, if there is one."""
    prefix, messages = prompt.assistant_prefix, prompt.messages
    if not prefix:
        return messages
    if mode is PrefixMode.CONTINUE:
        return (*messages, Message(Role.ASSISTANT, (TextPart(prefix),)))
    last = max(index for index, message in enumerate(messages) if message.role is Role.USER)
    asked = TextPart(_ASK.format(prefix=prefix.strip()))
    return tuple(
        replace(message, content=(*message.content, asked)) if index == last else message
        for index, message in enumerate(messages)
    )


def _without_prefix(text: str, prefix: str) -> str:
    r"""Return the text after the forced prefix, whether the model wrote it again or not.

    Example:
        >>> _without_prefix("I get the answer. \\boxed{B}", "I get the answer.\n\n")
        '\\boxed{B}'
    """
    words, start = prefix.strip(), text.lstrip()
    return start[len(words) :].lstrip() if words and start.startswith(words) else text


def _with_stop(reply: ChatReply, stops: Sequence[str]) -> str:
    """Return the text up to and with the stop text that ended it, which servers leave out.

    Some say which it was. Of others, a closing tag is put back where its element is still open.
    """
    text = reply.text
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if ends:
        return text[: min(ends)]
    if reply.finish_reason != "stop":
        return text
    if reply.stop_text is not None:
        return text + (reply.stop_text if reply.stop_text in stops else "")
    return text + next((stop for stop in stops if stop.startswith("</") and f"<{stop[2:]}" in text), "")


def _trial_clip() -> VideoClip:
    """Return one grey frame, large enough for every model."""
    frame = Image.new("RGB", (112, 112), (128, 128, 128))
    return VideoClip(np.asarray(frame)[None], np.zeros(1), Span(0.0, 1.0), "trial")


def _position(pair: tuple[int, Completion]) -> int:
    return pair[0]
