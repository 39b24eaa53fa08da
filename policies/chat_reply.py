"""What a chat server sent back, as data: never an exception, whatever it sent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One reply of a chat server."""

    text: str = ""
    finish_reason: str = ""
    """`stop`, `length`, or what else the server gives."""
    stop_text: str | None = None
    """The stop text that ended the reply and is no part of `text`; empty if none did, `None` if nobody says."""
    num_prompt_tokens: int = 0
    num_visual_tokens: int = 0
    num_tokens: int | None = None
    """Generated tokens, those of hidden reasoning included; `None` where the server does not count."""
    error: str = ""
    """Why there is no text."""


def read_reply(payload: bytes | str) -> ChatReply:
    """Return what `payload`, the body of a successful response, says.

    Example:
        >>> read_reply('{"choices": [{"message": {"content": "B"}, "finish_reason": "stop"}]}').text
        'B'
        >>> read_reply("<html>").error
        'the reply is no JSON'
    """
    try:
        tree = json.loads(payload)
    except (ValueError, RecursionError):
        return ChatReply(error="the reply is no JSON")
    if not isinstance(tree, Mapping):
        return ChatReply(error="the reply is no JSON object")
    usage = _mapping(tree.get("usage"))
    counted = ChatReply(
        num_prompt_tokens=_count(usage.get("prompt_tokens")) or 0,
        num_visual_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("image_tokens")) or 0,
        num_tokens=_count(usage.get("completion_tokens")),
    )
    choices = tree.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
        message = error_message(payload)
        return replace(counted, error=f"the server reports: {message}" if message else "the reply has no choices")
    return _with_choice(counted, _mapping(choices[0]))


def error_message(payload: bytes | str) -> str:
    """Return what the body of an unsuccessful response says in words; empty if it says nothing.

    Example:
        >>> error_message('{"error": {"message": "no such model", "code": 404}}')
        'no such model'
    """
    try:
        tree = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(tree, Mapping):
        return ""
    for key in ("error", "message", "detail"):
        inner = tree.get(key)
        message = inner.get("message") if isinstance(inner, Mapping) else inner
        if isinstance(message, str) and message.strip():
            return " ".join(_writable(message).split())
    return ""


def _with_choice(reply: ChatReply, choice: Mapping[str, Any]) -> ChatReply:
    message = _mapping(choice.get("message"))
    # vLLM and SGLang say which stop text it was.
    names = [name for name in ("stop_reason", "matched_stop") if name in choice]
    reply = replace(
        reply,
        text=_writable(_text(message.get("content"))),
        finish_reason=_writable(choice.get("finish_reason")),
        stop_text=_writable(choice[names[0]]) if names else None,
    )
    return reply if reply.text else replace(reply, error=_why_empty(message, reply.finish_reason))


def _text(content: Any) -> str:
    """Return the text of a message's content: a string, or parts some of which are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    texts = (_mapping(part).get("text") for part in content)
    return "".join(text for text in texts if isinstance(text, str))


def _why_empty(message: Mapping[str, Any], finish_reason: str) -> str:
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return f"the model refuses: {_writable(refusal)}"
    if message.get("tool_calls"):
        return "the reply calls a tool and has no text"
    if finish_reason == "length":
        return "the token limit was reached before any text"
    return f"the reply has no text (finish_reason {finish_reason})" if finish_reason else "the reply has no text"


def _writable(value: Any) -> str:
    """Return a text that can be written as UTF-8: JSON may hold halves of characters. What is no text is empty."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
