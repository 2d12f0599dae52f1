"""Provide a HELM client for the completions of any OpenAI-compatible server.

HELM's own client requires log-probabilities, so that llama.cpp and `transformers serve` fail in it, and its
`VLLMClient` cannot be constructed. This client asks for text alone; tokens are counted by the server (`usage`).
"""

from typing import Any

import openai
from helm.clients.client import CachingClient
from helm.clients.openai_client import OpenAIClient
from helm.common.cache import CacheConfig
from helm.common.request import (
    EMBEDDING_UNAVAILABLE_REQUEST_RESULT,
    GeneratedOutput,
    Request,
    RequestResult,
    wrap_request_time,
)


class CompletionsClient(OpenAIClient):  # type: ignore[misc]  # HELM is untyped
    """Client of the `completions` endpoint of a server at `base_url`."""

    def __init__(self, cache_config: CacheConfig, base_url: str, served_model: str, api_key: str | None = None) -> None:
        """Store the arguments that `client_spec` names."""
        super().__init__(cache_config, api_key=api_key or "EMPTY", base_url=base_url, openai_model_name=served_model)

    def make_request(self, request: Request) -> RequestResult:
        """Send a request, or take the answer from the cache."""
        if request.embedding:
            return EMBEDDING_UNAVAILABLE_REQUEST_RESULT
        body = {
            "model": self._get_model_for_request(request),
            "prompt": request.prompt,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "n": request.num_completions,
            "max_tokens": request.max_tokens,
            "stop": request.stop_sequences or None,
        }
        asked = {name: value for name, value in body.items() if value is not None and (name, value) not in _DEFAULTS}

        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = self.client.completions.create(**asked).model_dump(mode="json")
            return answer

        try:
            response, cached = self.cache.get(CachingClient.make_cache_key(asked, request), wrap_request_time(ask))
        except openai.OpenAIError as error:
            return RequestResult(
                success=False, cached=False, error=f"OpenAI error: {error}", completions=[], embedding=[]
            )
        return RequestResult(
            success=True,
            cached=cached,
            request_time=response["request_time"],
            request_datetime=response.get("request_datetime"),
            completions=[_output(choice) for choice in response["choices"]],
            embedding=[],
        )


_DEFAULTS = (("n", 1), ("top_p", 1), ("top_p", 1.0))
"""Options that not every server accepts, and that no server needs."""


def _output(choice: dict[str, Any]) -> GeneratedOutput:
    finish_reason = {"reason": choice["finish_reason"]}
    return GeneratedOutput(text=choice["text"], logprob=0, tokens=[], finish_reason=finish_reason)
