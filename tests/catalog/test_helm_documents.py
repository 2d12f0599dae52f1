"""The snapshot of HELM's files says what the installed crfm-helm says, so that scoring without it gives the same."""

from collections.abc import Iterator

import pytest

from helm_efficiency.adapters.tokenizers import _helm_tokenizers
from helm_efficiency.catalog import helm_documents
from helm_efficiency.catalog.helm_metadata import helm_deployments
from helm_efficiency.metrics.api_cost import _name_sent

READERS = (
    helm_documents.helm_config,
    helm_documents.training_figures,
    helm_documents.main_scores_of_groups,
    _name_sent,
    _helm_tokenizers,
)


def facts() -> tuple[object, ...]:
    """All that scoring reads of HELM's files."""
    for reader in READERS:
        reader.cache_clear()
    scores, figures = helm_documents.main_scores_of_groups(), helm_documents.training_figures()
    return helm_deployments(), scores, figures, dict(_name_sent()), dict(_helm_tokenizers())


@pytest.fixture
def without_helm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where crfm-helm is not installed."""
    monkeypatch.setattr(helm_documents, "_installed", lambda _: None)
    yield
    monkeypatch.undo()
    facts()


def test_the_snapshot_says_what_the_installed_helm_says(without_helm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = facts()
    monkeypatch.undo()
    assert facts() == snapshot
    assert len(snapshot[0]) > 300  # type: ignore[arg-type]
