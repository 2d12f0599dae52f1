"""What each worker process needs: imported by the process that they are forked from, see `workers`."""

import pandas  # noqa: F401 (pyarrow asks for it when it makes its first array)

import helm_efficiency.scoring.engines  # noqa: F401
from helm_efficiency.harness.scores import main_scores_of_groups

main_scores_of_groups()
