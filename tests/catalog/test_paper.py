"""The paper's accelerator counts and the idealized costs that follow from them."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from helm_efficiency.catalog.accelerators import PAPER, load_accelerators
from helm_efficiency.catalog.reference_results import paper_deployments, paper_num_accelerators
from helm_efficiency.core.cost import exact_usd, idealized_cost
from helm_efficiency.errors import CatalogError

# Cents of a mean request on A100 and V100: mean idealized seconds * accelerators * price / 36, from the authors'
# repository, stanford-crfm/helm-efficiency, as recovered from its figures. TNLG has no V100 figure.
CENTS = {
    "boolq": {
        "ai21/j1-grande": ("0.0258", "0.0580"),
        "ai21/j1-jumbo": ("0.3449", "0.8499"),
        "ai21/j1-large": ("0.0127", "0.0181"),
        "anthropic/stanford-online-all-v4-s3": ("0.1055", "0.2002"),
        "cohere/xlarge-20220609": ("0.1076", "0.2042"),
        "microsoft/TNLGv2_530B": ("3.3537", None),
        "openai/davinci": ("0.3659", "1.0195"),
        "together/bloom": ("0.6157", "1.3876"),
        "together/gpt-j-6b": ("0.0201", "0.0256"),
        "together/yalm": ("0.4317", "0.6385"),
    },
    "imdb": {
        "ai21/j1-grande": ("0.0310", "0.0692"),
        "ai21/j1-jumbo": ("0.3952", "0.9943"),
        "ai21/j1-large": ("0.0146", "0.0217"),
        "anthropic/stanford-online-all-v4-s3": ("0.1575", "0.3003"),
        "cohere/xlarge-20220609": ("0.1459", "0.2770"),
        "microsoft/TNLGv2_530B": ("4.6457", None),
        "openai/davinci": ("0.5026", "1.4110"),
        "together/bloom": ("0.7715", "1.7469"),
        "together/gpt-j-6b": ("0.0245", "0.0323"),
        "together/yalm": ("0.5423", "0.8043"),
    },
    "raft:subset=terms_of_service": {
        "ai21/j1-grande": ("0.0257", "0.0558"),
        "ai21/j1-jumbo": ("0.3438", "0.7422"),
        "ai21/j1-large": ("0.0116", "0.0142"),
        "anthropic/stanford-online-all-v4-s3": ("0.1103", "0.1605"),
        "cohere/xlarge-20220609": ("0.1199", "0.1697"),
        "microsoft/TNLGv2_530B": ("2.7613", None),
        "openai/davinci": ("0.3835", "0.8979"),
        "together/bloom": ("0.4816", "1.0246"),
        "together/gpt-j-6b": ("0.0452", "0.0424"),
        "together/yalm": ("0.7585", "1.2339"),
    },
    "mmlu:subject=college_chemistry": {
        "ai21/j1-grande": ("0.0109", "0.0253"),
        "ai21/j1-jumbo": ("0.1469", "0.3791"),
        "ai21/j1-large": ("0.0052", "0.0079"),
        "anthropic/stanford-online-all-v4-s3": ("0.0521", "0.0818"),
        "cohere/xlarge-20220609": ("0.0535", "0.0838"),
        "microsoft/TNLGv2_530B": ("1.4913", None),
        "openai/davinci": ("0.1855", "0.5267"),
        "together/bloom": ("0.1698", "0.4039"),
        "together/gpt-j-6b": ("0.0050", "0.0076"),
        "together/yalm": ("0.1349", "0.1885"),
    },
}


def test_all_idealized_costs_of_the_paper_to_the_digit(data_dir: Path) -> None:
    known = load_accelerators()
    found: dict[str, dict[str, tuple[str | None, ...]]] = {}
    with (data_dir / "paper_2023_results.csv").open() as file:
        for row in csv.DictReader(file):
            deployment = row["model"].replace("_", "/", 1)
            cents = []
            for key, seconds in (
                ("a100-80gb", row["idealized_runtime_a100_s"]),
                ("v100-32gb", row["idealized_runtime_v100_s"]),
            ):
                count, price = paper_num_accelerators(deployment, key), known[key].price(price_list=PAPER)
                assert price is not None
                usd = price.usd_per_accelerator_hour
                cents.append(f"{100 * exact_usd(float(seconds) * count, usd):.4f}" if seconds else None)
                if seconds:
                    as_float = idealized_cost(float(seconds), count, usd).usd
                    assert as_float is not None and f"{100 * float(as_float):.4f}" == cents[-1]
            found.setdefault(row["scenario"], {})[deployment] = tuple(cents)
    assert found == CENTS


def test_counts_of_all_ten_models() -> None:
    counts = {
        deployment: [paper_num_accelerators(deployment, key) for key in ("a100-80gb", "v100-32gb")]
        for deployment in paper_deployments()
    }
    assert counts == {
        "openai/davinci": [8, 16],
        "ai21/j1-large": [1, 1],
        "ai21/j1-grande": [1, 2],
        "ai21/j1-jumbo": [8, 16],
        "cohere/xlarge-20220609": [4, 4],
        "anthropic/stanford-online-all-v4-s3": [4, 4],
        "microsoft/TNLGv2_530B": [24, 48],
        "together/gpt-j-6b": [1, 1],
        "together/yalm": [4, 8],
        "together/bloom": [8, 16],
    }


def test_what_the_paper_did_not_run() -> None:
    with pytest.raises(CatalogError, match=r"no accelerator count for 'openai/gpt-4' on 'a100-80gb'.*openai/davinci"):
        paper_num_accelerators("openai/gpt-4", "a100-80gb")
    with pytest.raises(CatalogError, match="on 'h100-sxm'"):
        paper_num_accelerators("openai/davinci", "h100-sxm")


def test_one_cost_by_hand() -> None:
    # davinci on BoolQ: 0.402007 s * 8 A100 = 3.216056 accelerator-s; / 3600 * 4.096 $ = 0.00365915704889 $
    usd = exact_usd(0.402007 * 8, Decimal("4.096"))
    assert usd.quantize(Decimal("1e-12")) == Decimal("0.003659157049")
