"""Fixtures shared by all tests: where the real data lies."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: tests ask no network for anything

_ENV = "HELM_EFFICIENCY_DATA"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real logs and runs: named by HELM_EFFICIENCY_DATA, else beside the checkout, else skip."""
    named = os.environ.get(_ENV)
    path = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        if named:
            pytest.fail(f"{_ENV}={named} is not a folder")
        pytest.skip(f"no real data at {path}; name its folder with {_ENV}")
    return path.resolve()
