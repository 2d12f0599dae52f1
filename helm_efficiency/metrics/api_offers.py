"""Find the current prices of a request to a model at all hosts, under any of the names they give the model."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider

from helm_efficiency.catalog.architectures import name_key


@dataclass(frozen=True, slots=True)
class Offer:
    """Price of a request at one host.

    Attributes:
        host: Name of the host, such as `Groq`.
        model: Name that the host gives the model.
        usd: Price of one request ($).
    """

    host: str
    model: str
    usd: float


def api_offers(name: str, prompt_tokens: float, output_tokens: float, *, when: datetime) -> list[Offer]:
    """Return the price of a request at each host, the cheapest first.

    Args:
        name: Any name of the model; it is compared without the parts that hosts add.
        prompt_tokens: Mean prompt tokens; tiered prices are those of a prompt of this length.
        output_tokens: Mean output tokens.
        when: Time of the request, with a time zone.
    """
    cheapest: dict[str, Offer] = {}
    for provider, model in _priced().get(name_key(name), ()):
        usd = _usd(model, prompt_tokens, output_tokens, when)
        known = cheapest.get(provider.name)
        if usd is not None and (known is None or usd < known.usd):
            cheapest[provider.name] = Offer(provider.name, model.id, usd)
    return sorted(cheapest.values(), key=lambda offer: offer.usd)


@cache
def _priced() -> dict[str, list[tuple[Provider, ModelInfo]]]:
    """Map the key of each priced model to its hosts."""
    found: dict[str, list[tuple[Provider, ModelInfo]]] = {}
    for provider in get_snapshot().providers:
        for model in provider.models:
            found.setdefault(name_key(model.id), []).append((provider, model))
    return found


def _usd(model: ModelInfo, prompt_tokens: float, output_tokens: float, when: datetime) -> float | None:
    """Return the dollars of one request, or None if the host charges nothing or has no price per token."""
    price = model.get_prices(when, None)
    if price.input_mtok is None or price.output_mtok is None:
        return None
    p, o = max(round(prompt_tokens), 1), max(round(output_tokens), 1)
    usd = float(price.calc_price(Usage(input_tokens=p, output_tokens=o))["total_price"])
    return usd or None
