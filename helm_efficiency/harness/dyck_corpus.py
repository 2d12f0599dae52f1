"""Training text from the generator of HELM's Dyck-language scenario, which needs no download.

The generator and the prompt are HELM's own, so that a model trained on this text can answer HELM's `dyck_language`
entries asked without in-context examples.
"""

from dataclasses import dataclass

from helm.benchmark.run_specs.classic_run_specs import get_dyck_language_spec
from helm.benchmark.scenarios.dyck_language_scenario import DyckLanguageScenario


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt as HELM asks it, and the answer it expects."""

    prompt: str
    answer: str


def dyck_examples(num_parenthesis_pairs: int, *, count: int, seed: int, min_length: int = 12) -> list[Example]:
    """Draw prompts and answers of the Dyck language.

    Args:
        num_parenthesis_pairs: Kinds of brackets, 1 to 4.
        count: How many to draw.
        seed: Of the draw; HELM's own test instances use 42.
        min_length: Symbols of the shortest sequence; HELM tests with 52 to 100.

    Returns:
        Distinct examples.
    """
    scenario = DyckLanguageScenario(
        num_parenthesis_pairs=num_parenthesis_pairs,
        num_train_instances=count,
        num_test_instances=0,
        min_seq_train_length=min_length,
        max_seq_train_length=100,
        seed=seed,
    )
    adapter = get_dyck_language_spec(num_parenthesis_pairs).adapter_spec
    return [
        Example(
            prompt=f"{adapter.instructions}\n{adapter.input_prefix}{instance.input.text}",
            answer=instance.references[0].output.text,
        )
        for instance in scenario.get_instances(output_path="")
    ]
