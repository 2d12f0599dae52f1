"""Provide a HELM scenario for timing alone: prompts of exact lengths, made at run time for any tokenizer.

HELM's own `synthetic_efficiency` does the same for twelve tokenizers of 2022, from prompts that it downloads.
"""

import random
from collections.abc import Sequence
from functools import cached_property

from helm.benchmark.scenarios.scenario import (
    CORRECT_TAG,
    TEST_SPLIT,
    Input,
    Instance,
    Output,
    Reference,
    Scenario,
    ScenarioMetadata,
)
from helm.common.cache_backend_config import BlackHoleCacheBackendConfig
from helm.common.general import get_credentials
from helm.common.tokenization_request import TokenizationRequest
from helm.tokenizers.auto_tokenizer import AutoTokenizer

from helm_efficiency.errors import InputError
from helm_efficiency.helm_plugin.probe_prompts import exact_prompt

SCENARIO_NAME = "efficiency_probe"


class EfficiencyProbeScenario(Scenario):  # type: ignore[misc]
    """Scenario of random words of exact lengths, in random order, no two of them equal.

    Args:
        tokenizer: HELM's name of the tokenizer that counts.
        prompt_tokens: Lengths of prompts.
        num_trials: Number of prompts of each length.
        seed: Seed of the random prompts.
    """

    name = SCENARIO_NAME
    description = "Random words of exact lengths, to time a deployment by prompt and output tokens."
    tags = ["efficiency"]  # noqa: RUF012 (HELM's own declaration)

    def __init__(self, tokenizer: str, prompt_tokens: Sequence[int], num_trials: int, seed: str) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.prompt_tokens = prompt_tokens
        self.num_trials = num_trials
        self.seed = seed

    def get_instances(self, output_path: str) -> list[Instance]:
        """Return the prompts; nothing is read or downloaded.

        Raises:
            InputError: The tokenizer cannot make a prompt of a length, or not enough different ones.
        """
        rng = random.Random(self.seed)
        texts: list[str] = []
        for num_tokens in self.prompt_tokens:
            different: set[str] = set()
            for _ in range(20 * self.num_trials):
                different.add(exact_prompt(num_tokens, self._count_tokens, rng))
                if len(different) == self.num_trials:
                    break
            else:
                raise InputError(
                    f"Tokenizer {self.tokenizer!r}: only {len(different)} different prompts of {num_tokens} tokens, "
                    f"asked for {self.num_trials}. Ask for fewer trials or longer prompts."
                )
            texts.extend(sorted(different))
        rng.shuffle(texts)
        reference = Reference(Output(text=""), tags=[CORRECT_TAG])
        return [Instance(Input(text=text), references=[reference], split=TEST_SPLIT) for text in texts]

    def get_metadata(self) -> ScenarioMetadata:
        """Return the texts that HELM's tables show for the scenario."""
        return ScenarioMetadata(
            name=SCENARIO_NAME,
            display_name="Efficiency probe",
            description=self.description,
            main_metric="inference_runtime",
            main_split="test",
        )

    @cached_property
    def _tokenizer(self) -> AutoTokenizer:
        return AutoTokenizer(get_credentials(), BlackHoleCacheBackendConfig())

    def _count_tokens(self, text: str) -> int:
        result = self._tokenizer.tokenize(TokenizationRequest(text, tokenizer=self.tokenizer, encode=True))
        if not result.success:
            raise InputError(f"Tokenizer {self.tokenizer!r} failed: {result.error}.")
        return int(result.num_tokens)
