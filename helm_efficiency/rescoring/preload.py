"""Load the modules that each worker process needs, in the process that workers are forked from; see `workers`."""

import pyarrow.compute  # noqa: F401 (pyarrow asks for it when it first takes elements of an array)

import helm_efficiency.rescoring.workers  # noqa: F401
from helm_efficiency.catalog.helm_documents import main_scores_of_groups
from helm_efficiency.metrics.api_cost import ApiPrices

main_scores_of_groups()
ApiPrices().are_known("openai/gpt2", "openai/gpt2")  # reads the price list
