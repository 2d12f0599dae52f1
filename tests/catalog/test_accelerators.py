"""The accelerator catalog: what is in it, prices as of a date, a user's own file."""

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from helm_efficiency.catalog.accelerators import (
    ON_DEMAND,
    PAPER,
    Price,
    find_accelerator,
    load_accelerators,
    prices_as_of,
    spec_of,
)
from helm_efficiency.errors import CatalogError, FileFormatError

PRICED = {
    *(
        "v100-16gb",
        "v100-32gb",
        "a100-40gb",
        "a100-80gb",
        "h100-sxm",
        "h100-pcie",
        "h200-sxm",
        "b200",
        "l4",
        "l40s",
        "a10",
    ),
    *("t4", "mi300x", "tpu-v5e", "tpu-v6e", "trainium1", "inferentia2", "cpu"),
}
UNPRICED = {
    *(
        "a100-pcie",
        "h20",
        "gh200",
        "b300",
        "gb200",
        "gb300",
        "a30",
        "a40",
        "rtx-3090",
        "rtx-4090",
        "rtx-5090",
        "rtx-pro-6000",
    ),
    *("mi250", "mi325x", "mi355x", "gaudi2", "gaudi3", "intel-max-1550", "sn40l", "trainium2", "tpu-v5p"),
    *("apple-m1", "apple-m1-pro", "apple-m1-max", "apple-m1-ultra", "apple-m2", "apple-m2-pro", "apple-m2-max"),
    *("apple-m2-ultra", "apple-m3", "apple-m3-pro", "apple-m3-max", "apple-m3-ultra", "apple-m4", "apple-m4-pro"),
    "apple-m4-max",
}
NO_DESIGN_POWER = {"cpu", "sn40l", "tpu-v5e", "tpu-v5p", "tpu-v6e", "trainium1", "trainium2", "inferentia2"}


def test_every_accelerator_has_a_source_and_its_sizes() -> None:
    known = {accelerator.key: accelerator for accelerator in load_accelerators().values()}
    assert set(known) == PRICED | UNPRICED
    for key, accelerator in known.items():
        assert accelerator.source and accelerator.memory_bytes, key
        assert bool(accelerator.prices) == (key in PRICED), key
        assert all(price.source and price.usd_per_accelerator_hour > 0 for price in accelerator.prices)
        assert list(accelerator.prices) == sorted(accelerator.prices, key=lambda price: price.date)
        assert accelerator.bandwidth_bytes_per_s or key in {"cpu", "sn40l"}, key
        if not key.startswith("apple-"):
            assert bool(accelerator.tdp_w) == (key not in NO_DESIGN_POWER), key
            assert accelerator.dense_flop_per_s.get("fp16") or accelerator.dense_flop_per_s.get("bf16") or key == "cpu"


def test_a_missing_price_is_none() -> None:
    assert load_accelerators()["b300"].price() is None
    assert "b300" not in prices_as_of(load_accelerators())


@pytest.mark.parametrize("key", sorted(UNPRICED | PRICED))
def test_narrower_weights_are_never_computed_slower(key: str) -> None:
    accelerator = load_accelerators()[key]
    speeds = [spec_of(accelerator, dtype).flop_per_s for dtype in ("fp16", "fp8", "fp4")]
    assert speeds == sorted(speeds)


def test_figures_are_in_base_units() -> None:
    h100 = load_accelerators()["h100-sxm"]
    assert h100.memory_bytes == 80e9
    assert h100.bandwidth_bytes_per_s == 3.35e12
    assert h100.dense_flop_per_s["fp8"] == pytest.approx(1978.9e12)
    assert (h100.tdp_w, h100.node_size) == (700.0, 8)


def test_an_alias_finds_the_same_accelerator() -> None:
    known = load_accelerators()
    assert known["h200-141gb"] is known["h200"] is known["h200-sxm"]


def test_public_rows_name_known_accelerators(data_dir: Path) -> None:
    known = load_accelerators()
    named = {
        row["accelerator"]
        for path in (data_dir / "modern").glob("*/tidy.csv")
        for row in csv.DictReader(path.open(newline=""))
    }
    assert len(named) > 10
    assert {name for name in named if name not in known} == set()


def test_case_and_underscores_do_not_matter() -> None:
    assert find_accelerator("H200_SXM", load_accelerators()).key == "h200-sxm"
    assert find_accelerator("RTX PRO 6000", load_accelerators()).key == "rtx-pro-6000"


def test_the_papers_prices_by_name() -> None:
    known = load_accelerators()
    prices = {key: known[key].price(price_list=PAPER) for key in ("a100-40gb", "a100-80gb", "v100-16gb", "v100-32gb")}
    assert {key: price and price.usd_per_accelerator_hour for key, price in prices.items()} == {
        "a100-40gb": Decimal("4.096"),
        "a100-80gb": Decimal("4.096"),
        "v100-16gb": Decimal("3.06"),
        "v100-32gb": Decimal("3.06"),
    }


@pytest.mark.parametrize(
    ("day", "usd"),
    [
        (date(2023, 5, 2), None),  # before the first price that is known
        (date(2023, 5, 3), Decimal("5.12")),
        (date(2026, 3, 3), Decimal("5.12")),
        (date(2026, 3, 4), Decimal("3.43088125")),  # 27.44705 / 8
        (date(2030, 1, 1), Decimal("3.43088125")),
    ],
)
def test_a_price_holds_from_its_date(day: date, usd: Decimal | None) -> None:
    price = load_accelerators()["a100-80gb"].price(day)
    assert (price and price.usd_per_accelerator_hour) == usd


def test_an_unknown_list_has_no_price() -> None:
    assert load_accelerators()["l4"].price(price_list="spot") is None


def test_prices_of_a_day_by_key_and_alias() -> None:
    known = load_accelerators()
    assert {known[key].key for key in prices_as_of(known, date(2023, 5, 2))} == {"trainium1", "inferentia2"}
    on_that_day = prices_as_of(known, date(2026, 5, 1))
    dated = {"a100-40gb", "a100-80gb", "h100-sxm", "tpu-v5e", "tpu-v6e", "v100-32gb", "trainium1", "inferentia2"}
    assert {known[key].key for key in on_that_day} == dated
    assert on_that_day["h100-80gb"] == on_that_day["h100-sxm"]
    assert {known[key].key for key in prices_as_of(known, date(2026, 10, 1))} == PRICED


def test_own_csv_replaces_the_prices_of_its_list_only(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("accelerator,usd_per_accelerator_hour,date,source\na100-80gb,1.25,2024-01-01,contract 17\n")
    a100 = load_accelerators(path)["a100-80gb"]
    own = Price(Decimal("1.25"), date(2024, 1, 1), "contract 17", ON_DEMAND)
    assert a100.price() == own
    assert a100.price(date(2023, 6, 1)) is None
    assert a100.price(price_list=PAPER) == load_accelerators()["a100-80gb"].price(price_list=PAPER)
    assert load_accelerators(path)["l4"] == load_accelerators()["l4"]


def test_own_yaml_adds_an_accelerator_and_a_list(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        """
accelerators:
  gaudi3: {name: Intel Gaudi 3, memory_gb: 128, tdp_w: 900, dense_tflop_per_s: {bf16: 1835}, source: the data sheet}
prices:
  - {accelerator: gaudi3, usd_per_accelerator_hour: "2.5", date: 2026-01-01, source: our cluster, price_list: ours}
  - {accelerator: h100-80gb, usd_per_accelerator_hour: "1.9", date: 2026-01-01, source: our cluster, price_list: ours}
"""
    )
    known = load_accelerators(path)
    assert (known["gaudi3"].name, known["gaudi3"].memory_bytes) == ("Intel Gaudi 3", 128e9)
    prices = [known[key].price(price_list="ours") for key in ("gaudi3", "h100-sxm")]
    assert [price and price.usd_per_accelerator_hour for price in prices] == [Decimal("2.5"), Decimal("1.9")]
    assert known["h100-80gb"] is known["h100-sxm"]


def test_own_description_keeps_the_prices(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("accelerators:\n  l4: {name: L4 in our rack, tdp_w: 60, source: our meter}\n")
    l4 = load_accelerators(path)["l4"]
    assert (l4.name, l4.tdp_w, l4.prices) == ("L4 in our rack", 60.0, load_accelerators()["l4"].prices)


def test_unknown_accelerator_lists_similar_names() -> None:
    with pytest.raises(CatalogError, match=r"Unknown accelerator 'a101'. Did you mean a10, .* --prices"):
        find_accelerator("a101", load_accelerators())


HEADER = "accelerator,usd_per_accelerator_hour,date,source\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accelerator,usd,date,source\n", "unknown usd; missing usd_per_accelerator_hour; expected accelerator, "),
        (HEADER + "l4,-1,2026-01-01,x\n", "price 1: usd_per_accelerator_hour is '-1', expected dollars above 0"),
        (HEADER + "l4,0,2026-01-01,x\n", "is '0', expected dollars above 0"),
        (HEADER + "l4,,2026-01-01,x\n", "is '', expected dollars above 0"),
        (HEADER + "l4,cheap,2026-01-01,x\n", "is 'cheap', expected dollars above 0"),
        (HEADER + "l4,nan,2026-01-01,x\n", "is 'nan', expected dollars above 0"),
        (HEADER + f"l4,{'9' * 400},2026-01-01,x\n", "expected dollars above 0 and at most 1,000,000,000"),
        (HEADER + f"l4,1,2026-01-01,{'x' * 200_000}\n", r"line \d: field larger than field limit"),
        (HEADER + "l4,1,yesterday,x\n", "date is 'yesterday', expected one like 2026-06-30"),
        (HEADER + "l4,1,2026-01-01,\n", "source is empty"),
        (HEADER + "l4,1,2026-01-01,x,more\n", "unknown None"),
        ("", "missing accelerator, usd_per_accelerator_hour, date, source"),
    ],
)
def test_bad_csv_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_accelerators(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "expected keys and values: accelerators, prices"),
        ("accelerators: {x: 1}\n", "accelerator 'x': given 1, expected keys and values"),
        ("accelerators: {x: {name: X}}\n", "missing source; expected name, source"),
        ("accelerators: {x: {name: X, source: s, ram: 3}}\n", "unknown ram"),
        (
            "accelerators: {x: {name: X, source: s, memory_gb: none}}\n",
            "memory_gb is 'none', expected a number above 0",
        ),
        ("accelerators: {x: {name: X, source: s, dense_tflop_per_s: {fp12: 3}}}\n", "unknown fp12"),
        ("prices: [{accelerator: l4}]\n", "price 1: missing usd_per_accelerator_hour, date, source"),
        ("prices: {a: [}\n", "not YAML"),
    ],
)
def test_bad_yaml_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_accelerators(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_missing_file_and_an_undescribed_accelerator(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="cannot be read as a price file"):
        load_accelerators(tmp_path / "none.csv")
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "gaudi9,1,2026-01-01,x\n")
    with pytest.raises(CatalogError, match="Unknown accelerator 'gaudi9'"):
        load_accelerators(path)
