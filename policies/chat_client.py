"""Requests to an OpenAI-compatible chat server: timeouts, retries, a bound on what is under way at once.

The key stays in here: it is sent to the server and to nobody else, and taken out of whatever the server sends back.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from videozoom.policies.chat_reply import error_message

CONNECT_S = 10.0
MAX_WAIT_S = 60.0
MAX_REPLY_BYTES = 32 * 2**20
_MAX_QUOTE = 300
_MAX_DEPTH = 16
_MIN_SECRET = 8
"""Shorter keys are placeholders such as `none`, which may well stand in a reply."""
_HIDDEN = "***"
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses that may be other the next time."""
_REJECTED = frozenset({400, 413, 415, 422})
"""Statuses that are about one request, for instance one that is too long."""


class EndpointError(Exception):
    """A chat server cannot be used. The message says in one sentence why, and never holds the key."""


class RequestRejected(Exception):
    """A chat server works, but refuses this one request; the message is the server's."""


class _Again(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


class ChatClient:
    """Sends chat requests to one server; threads may share it.

    What may pass (429, 5xx, timeouts, broken connections) is tried again after `backoff_s`, then twice as long each
    time, up to a minute, up to half of it more or less by chance; a server that says how long to wait is heard.

    Args:
        base_url: What stands before `/chat/completions`, usually ending in `/v1`.
        key: Sent as a bearer token; `None` for servers without keys.
        key_name: How messages call the key, for instance the environment variable it comes from.
        timeout_s: How long a request may take.
        max_parallel: Most requests under way at once, those that wait to be tried again included.
        retries: How often a request is tried again.
        backoff_s: Wait before the first of these.

    Raises:
        EndpointError: the key has characters that no key has.

    Example:
        >>> client = ChatClient("http://127.0.0.1:8000/v1")
        >>> client.post({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        key_name: str = "the key",
        timeout_s: float = 120.0,
        max_parallel: int = 8,
        retries: int = 5,
        backoff_s: float = 1.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.max_parallel, self.retries = max_parallel, retries
        self._timeout_s, self._backoff_s = timeout_s, backoff_s
        self._auth = _Bearer(key, key_name)
        self._free = threading.BoundedSemaphore(max_parallel)
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_maxsize=max_parallel)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def post(self, body: Mapping[str, Any], *, is_first: bool = False) -> bytes:
        """Return the body of the server's reply.

        Args:
            body: What is sent, as plain data.
            is_first: Whether nobody knows yet that there is a server: if none listens, that is not tried again.

        Raises:
            EndpointError: the server cannot be reached, refuses the key, does not know the address or the model, or
                goes on failing.
            RequestRejected: the server refuses this request.
        """
        data = json.dumps(body).encode()
        with self._free:
            for attempt in range(self.retries + 1):
                try:
                    return self._attempt(data, is_first=is_first)
                except _Again as failure:
                    problem = str(failure)
                    if attempt < self.retries:
                        time.sleep(self.wait_s(attempt, failure.wait_s))
        times = "once" if self.retries == 0 else f"{self.retries + 1} times"
        raise EndpointError(f"The chat server at {self.base_url} failed {times}: {problem}")

    def wait_s(self, attempt: int, asked_s: float | None = None) -> float:
        """Return how long to wait after failed attempt number `attempt`, from 0, if the server asked for `asked_s`."""
        doubled_s = min(self._backoff_s * 2.0 ** min(attempt, 30), MAX_WAIT_S)
        return max(doubled_s * random.uniform(0.5, 1.5), min(asked_s or 0.0, MAX_WAIT_S))

    def _attempt(self, data: bytes, *, is_first: bool) -> bytes:
        try:
            return self._exchange(data)
        except requests.exceptions.ConnectTimeout:
            raise self._unreachable(f"no connection within {min(CONNECT_S, self._timeout_s):g} s", is_first) from None
        except (requests.exceptions.Timeout, TimeoutError):
            raise _Again(f"no reply within {self._timeout_s:g} s") from None
        except requests.exceptions.SSLError as error:
            raise EndpointError(f"{self.base_url} cannot be trusted: {self._quote(_words(error))}") from None
        except ValueError as error:
            raise EndpointError(f"{self.base_url} is no address of a server: {self._quote(str(error))}") from None
        except requests.exceptions.RequestException as error:
            if isinstance(_innermost(error), TimeoutError):
                raise _Again(f"no whole reply within {self._timeout_s:g} s") from None
            raise self._unreachable(f"the connection failed: {self._quote(_words(error))}", is_first) from None

    def _unreachable(self, problem: str, is_first: bool) -> Exception:
        if not is_first:
            return _Again(problem)
        return EndpointError(f"No chat server answers at {self.base_url} ({problem}); start it, or correct base_url")

    def _exchange(self, data: bytes) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        with self._session.post(
            f"{self.base_url}/chat/completions",
            data=data,
            headers={"Content-Type": "application/json"},
            # Given for each request, so that no other credentials of the machine are sent.
            auth=self._auth,
            timeout=(min(CONNECT_S, self._timeout_s), self._timeout_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            payload = b""
            for chunk in response.iter_content(None):
                payload += chunk
                if len(payload) > MAX_REPLY_BYTES:
                    raise RequestRejected(f"the reply is larger than {MAX_REPLY_BYTES // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise TimeoutError
            payload = self._auth.without_key(payload)
            self._check(response, payload)
            return payload

    def _check(self, response: requests.Response, payload: bytes) -> None:
        """Raise what an unsuccessful status means."""
        status = response.status_code
        if 200 <= status < 300:
            return
        said = self._quote(error_message(payload) or response.reason or "")
        words = f"{status}: {said}" if said else str(status)
        if status in _AGAIN:
            raise _Again(words, _asked_s(response.headers.get("Retry-After")))
        if status in _REJECTED:
            raise RequestRejected(words)
        raise EndpointError(self._refusal(status, words, response.headers.get("Location", "")))

    def _refusal(self, status: int, words: str, location: str) -> str:
        if status in (401, 403):
            if not self._auth.has_key:
                return f"The chat server at {self.base_url} wants a key ({words}); name the environment variable of one"
            return f"The chat server at {self.base_url} refuses the key in {self._auth.key_name} ({words})"
        if status == 404:
            return (
                f"The chat server at {self.base_url} does not know the address or the model ({words}); "
                "base_url usually ends in /v1"
            )
        if 300 <= status < 400:
            return f"{self.base_url} leads elsewhere ({words}, {self._quote(location)}); give that address as base_url"
        return f"The chat server at {self.base_url} refuses to work ({words})"

    def _quote(self, text: str) -> str:
        """Return somebody else's words: without the key, in one line, not too long."""
        text = " ".join(self._auth.without_key(text.encode()).decode().split())
        return text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}..."


class _Bearer(AuthBase):
    """Holds the key and shows it to nobody but the server."""

    def __init__(self, key: str | None, key_name: str) -> None:
        self._key = (key or "").strip()
        self.key_name = key_name
        if not (self._key.isascii() and self._key.isprintable()):
            raise EndpointError(f"The key in {key_name} has characters that no key has; set it again")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return f"<{self.key_name}>"

    def __getstate__(self) -> None:
        raise TypeError(f"{self.key_name} is not written anywhere; make the client again where it is needed")

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def without_key(self, payload: bytes) -> bytes:
        """Return `payload` with the key taken out, should somebody echo it."""
        return payload.replace(self._key.encode(), _HIDDEN.encode()) if len(self._key) >= _MIN_SECRET else payload


def _asked_s(header: str | None) -> float | None:
    """Return how many seconds `Retry-After` asks for: a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _words(error: BaseException) -> str:
    """Return what the innermost exception says: the outer ones wrap it in names of classes."""
    inner = _innermost(error)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return str(inner).rpartition(">: ")[2] or type(inner).__name__


def _innermost(error: BaseException) -> BaseException:
    for _ in range(_MAX_DEPTH):
        wrapped = (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args)
        inner = next((it for it in wrapped if isinstance(it, BaseException) and it is not error), None)
        if inner is None:
            break
        error = inner
    return error
