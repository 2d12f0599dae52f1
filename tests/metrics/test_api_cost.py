"""API cost: by hand, against genai-prices' own arithmetic, with history, tiers, caches, discounts and own prices."""

import random
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from helpers.archives import helm_folders

from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.errors import FileFormatError
from helm_efficiency.metrics.api_cost import ApiCost, load_api_prices

TODAY = datetime(2026, 11, 20, tzinfo=UTC)


def record(
    deployment: str, prompt: int | None, output: int | None, day: datetime | None = TODAY, **more: int
) -> RequestRecord:
    return RequestRecord(
        harness="helm",
        suite="",
        run="r",
        scenario="s",
        model=deployment,
        deployment=deployment,
        instance_id="1",
        prompt_tokens=prompt,
        output_tokens=output,
        requested_at=None if day is None else day.timestamp(),
        **more,  # type: ignore[arg-type]
    )


def test_by_hand() -> None:
    # gpt-4o: $2.50 a million input tokens, $1.25 cached, $10 output:
    # 700 * 2.5 + 300 * 1.25 + 50 * 10 = 1750 + 375 + 500 = 2625 millionths
    cost = load_api_prices().cost(record("openai/gpt-4o-2024-08-06", 1000, 50, cache_read_tokens=300), today=TODAY)
    assert cost == ApiCost(Decimal("0.002625"), Decimal("0.002625"), "")


def test_the_price_on_the_day_beside_todays() -> None:
    # o3 was $10 and $40 a million tokens until 2025-06-10, $2 and $8 since
    early = record("openai/o3-2025-04-16", 1000, 100, datetime(2025, 5, 1, tzinfo=UTC))
    late = record("openai/o3-2025-04-16", 1000, 100, datetime(2025, 7, 1, tzinfo=UTC))
    assert load_api_prices().costs([early, late], today=TODAY) == [
        ApiCost(Decimal("0.014"), Decimal("0.0028"), ""),
        ApiCost(Decimal("0.0028"), Decimal("0.0028"), ""),
    ]


@pytest.mark.parametrize(
    ("deployment", "host", "name"),
    [
        ("openai/gpt-4o-2024-08-06", "openai", "gpt-4o-2024-08-06"),
        ("openai/o3-2025-04-16", "openai", "o3-2025-04-16"),
        ("google/gemini-2.5-pro", "google", "gemini-2.5-pro"),
        ("anthropic/claude-sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5-20250929"),
        ("xai/grok-4-0709", "x-ai", "grok-4-0709"),
        ("together/llama-3-70b-chat", "together", "meta-llama/Llama-3-70b-chat-hf"),  # HELM's client knows its name
        ("together/Llama-3-70b-chat-hf", "together", "meta-llama/Llama-3-70b-chat-hf"),  # an old run's
        ("groq/llama3-8b-8192", "groq", "llama3-8b-8192"),
    ],
)
@pytest.mark.parametrize("context", [{}, {"processing": "batch"}, {"service_tier": "flex"}])
def test_equal_to_the_librarys_own_arithmetic(deployment: str, host: str, name: str, context: dict[str, str]) -> None:
    rng = random.Random(deployment)
    prices = load_api_prices(context=context)
    for _ in range(40):
        prompt = rng.choice([0, 1, 200_000, 200_001, rng.randrange(500_000)])
        read = rng.randrange(prompt + 1)
        write = rng.randrange(prompt - read + 1)
        usage = {"input_tokens": prompt, "output_tokens": rng.randrange(5000)}
        usage |= {"cache_read_tokens": read, "cache_write_tokens": write}
        day = datetime.fromtimestamp(rng.uniform(1.7e9, 1.79e9), UTC)
        asked = record(
            deployment, prompt, usage["output_tokens"], day, cache_read_tokens=read, cache_write_tokens=write
        )
        then, now = (
            calc_price(
                Usage(**usage), name, provider_id=host, genai_request_timestamp=when, price_context=context or None
            ).total_price
            for when in (day, TODAY)
        )
        assert prices.cost(asked, today=TODAY) == ApiCost(then, now, "")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (record("huggingface/gpt2", 10, 1), "no API price for huggingface/gpt2"),
        (record("openai/no-such-model", 10, 1), "no API price for openai/no-such-model"),
        (
            record("stanfordhealthcare/gpt-4o-2024-05-13", 10, 1),
            "no API price for stanfordhealthcare/gpt-4o-2024-05-13",
        ),
        (record("openai/whisper-1", 10, 1), "no price per token for openai/whisper-1"),
        (record("openai/gpt-4o", None, 1), "prompt tokens missing"),
        (record("openai/gpt-4o", 10, None), "output tokens missing"),
    ],
)
def test_what_cannot_be_priced_is_listed_and_never_0(asked: RequestRecord, reason: str) -> None:
    assert load_api_prices().cost(asked, today=TODAY) == ApiCost(None, None, reason)


def test_an_unknown_day_leaves_todays_price() -> None:
    cost = load_api_prices().cost(record("openai/gpt-4o-2024-08-06", 1000, 50, None), today=TODAY)
    assert cost == ApiCost(None, Decimal("0.003"), "day of the request missing")


OWN = """deployment,input_usd_per_mtok,output_usd_per_mtok,cache_read_usd_per_mtok,date,source
ours/llama,0.5,1.0,,2025-01-01,contract 1
ours/llama,0.4,0.8,0.1,2026-01-01,contract 2
openai/gpt-4o,1,2,,2020-01-01,our reseller
"""


def test_own_prices_come_first_and_hold_from_their_date(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(OWN)
    prices = load_api_prices(path)
    days = [datetime(year, 6, 1, tzinfo=UTC) for year in (2024, 2025, 2026)]
    assert [prices.cost(record("ours/llama", 1000, 100, day, cache_read_tokens=500), today=TODAY) for day in days] == [
        # today: 500 * 0.4 + 500 * 0.1 + 100 * 0.8 = 330 millionths
        ApiCost(None, Decimal("0.00033"), "no price for ours/llama on the day of the request"),
        ApiCost(Decimal("0.0006"), Decimal("0.00033"), ""),  # 1000 * 0.5 + 100 * 1: no price of its own for the cache
        ApiCost(Decimal("0.00033"), Decimal("0.00033"), ""),
    ]
    assert prices.cost(record("openai/gpt-4o", 1000, 100), today=TODAY).usd == Decimal("0.0012")
    assert prices.cost(record("openai/gpt-4o-2024-08-06", 1000, 0), today=TODAY).usd == Decimal("0.0025")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployment,input,output_usd_per_mtok,date,source\n", "unknown input; missing input_usd_per_mtok; expected"),
        (OWN.replace("0.5", "-0.5"), "line 2: input_usd_per_mtok is '-0.5', expected dollars of 0 or more"),
        (OWN.replace("0.8", ""), "line 3: output_usd_per_mtok is '', expected dollars of 0 or more"),
        (OWN.replace("2026-01-01", "soon"), "line 3: date is 'soon'"),
        (OWN.replace("contract 1", ""), "line 2: source is empty"),
        (OWN.replace("ours/llama,0.5", ",0.5"), "line 2: deployment is empty"),
        (OWN.replace("contract 1", "contract,1"), "line 2: more cells than columns"),
    ],
)
def test_bad_own_prices_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_api_prices(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_real_runs_are_billed_or_listed(data_dir: Path) -> None:
    prices, billed, listed = load_api_prices(), dict[str, Decimal](), Counter[str]()
    for folder in helm_folders(data_dir / "helm_runs"):
        for asked in read_run(folder).records:
            cost = prices.cost(asked, today=TODAY)
            if cost.usd is None:
                listed[cost.reason] += 1
            else:
                billed[asked.deployment] = billed.get(asked.deployment, Decimal(0)) + cost.usd
    # Groq: $0.59 and $0.79 a million tokens for the 70B model, $0.05 and $0.08 for the 8B. Together's have no date.
    assert billed == {"groq/llama3-70b-8192": Decimal("0.01628125"), "groq/llama3-8b-8192": Decimal("0.00138215")}
    assert listed == {
        "day of the request missing": 120,
        "no API price for huggingface/Meta-Llama-3-8B": 60,
        "no API price for huggingface/gpt2": 15,
        "no API price for huggingface/pythia-1b-v0": 10,
    }
