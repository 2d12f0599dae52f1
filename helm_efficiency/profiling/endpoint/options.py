"""Options of an endpoint: the address of the server, and the settings of its requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Address of a server, and settings of its requests.

    Attributes:
        base_url: Address up to and including the version, such as `http://localhost:8000/v1`.
        model: Name of the model at the server.
        chat: True to send prompts to `chat/completions` rather than `completions`.
        stream: True to stream tokens; without streaming, the time to the first token is unknown.
        api_key_env: Environment variable that holds the API key, if one is needed.
        extra_body: Further JSON fields of every request.
        timeout_s: Longest time of one request (s), from sending it to the last byte of the answer.
        max_retries: Number of attempts after the first, if a server is busy or broken.
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
