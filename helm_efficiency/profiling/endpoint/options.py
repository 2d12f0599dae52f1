"""Which server is asked, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Which server, and how it is asked.

    Attributes:
        base_url: Up to and including the version, such as `http://localhost:8000/v1`.
        model: As the server calls it.
        chat: Whether prompts go to `chat/completions` rather than `completions`.
        stream: Whether tokens are streamed; without it there is no time to the first one.
        api_key_env: Environment variable that holds the API key, if one is needed.
        extra_body: Further fields of every request.
        timeout_s: Longest that one request may take (s), from sending it to the last byte of the answer.
        max_retries: Attempts after the first at a request that met a busy or broken server.
    """

    base_url: str
    model: str
    chat: bool = False
    stream: bool = True
    api_key_env: str = "OPENAI_API_KEY"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 600.0
    max_retries: int = 5

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL as error:
            raise InputError(f"Base URL {self.base_url[:100]!r}: {error}.") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(f"Base URL {self.base_url!r}: expected such as http://localhost:8000/v1.")
        if url.userinfo or url.query:
            raise InputError(
                f"Base URL of {url.host}: no user, password or query expected. "
                "Put a key into the environment and name the variable with --api-key-env."
            )
        if not self.timeout_s > 0:
            raise InputError(f"A request may take {self.timeout_s:g} s: expected more than 0.")
