"""From settings of a chat server to the policy behind it; the key comes from the environment and goes nowhere else."""

import os

from videozoom.experiments.config_endpoint import Endpoint
from videozoom.experiments.errors import UserError
from videozoom.policies.chat_client import ChatClient
from videozoom.policies.chat_content import ChatContent, ImageFormat
from videozoom.policies.endpoint import EndpointPolicy, PrefixMode
from videozoom.policies.sampling import Sampling


def build_endpoint(
    settings: Endpoint, sampling: Sampling | None = None, *, name: str = "policy.endpoint"
) -> EndpointPolicy:
    """Return the policy behind a chat server; nothing is sent yet.

    Args:
        settings: Of the server.
        sampling: How it draws tokens.
        name: Where the settings stand in a configuration.

    Raises:
        UserError: the variable that should hold the key is not set.
        EndpointError: what it holds is no key.
    """
    client = ChatClient(
        settings.base_url,
        key=_key(settings.api_key_env, name),
        key_name=settings.api_key_env or "the key",
        timeout_s=settings.timeout_s,
        max_parallel=settings.max_parallel,
        retries=settings.retries,
    )
    return EndpointPolicy(
        client,
        settings.model,
        sampling,
        content=ChatContent(ImageFormat(settings.image_format), settings.image_detail, settings.time_tags),
        prefix=PrefixMode(settings.prefix),
        extra=settings.extra,
    )


def _key(variable: str | None, name: str) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"{name}.api_key_env names {variable}, which is not set; export it, or give null for a server without keys"
        )
    return key
