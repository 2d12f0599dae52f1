"""Make training text with the generator of HELM's Dyck-language scenario, which needs no download.

The generator and the prompt are HELM's own, so that a model trained on this text can answer HELM's entries

    dyck_language:num_parenthesis_pairs=N,max_train_instances=0,instructions=none,prompt=input_output
"""

from dataclasses import dataclass

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.run_expander import InstructionsRunExpander, PromptRunExpander
from helm.benchmark.run_specs.classic_run_specs import get_dyck_language_spec
from helm.benchmark.scenarios.dyck_language_scenario import DyckLanguageScenario


@dataclass(frozen=True, slots=True)
class Example:
    """Prompt as HELM sends it, and the expected answer with the line end at which HELM stops."""

    prompt: str
    answer: str


def dyck_examples(num_parenthesis_pairs: int, *, count: int, seed: int) -> list[Example]:
    """Draw prompts and answers of the Dyck language.

    Args:
        num_parenthesis_pairs: Number of kinds of brackets, 1 to 4.
        count: Number of examples to draw.
        seed: Seed of the draw; HELM's own test instances use 42.

    Returns:
        Distinct examples of 20 to 100 symbols; HELM tests with 52 to 100.
    """
    scenario = DyckLanguageScenario(
        num_parenthesis_pairs=num_parenthesis_pairs,
        num_train_instances=count,
        num_test_instances=0,
        min_seq_train_length=20,
        max_seq_train_length=100,
        seed=seed,
    )
    adapter = _adapter_spec(num_parenthesis_pairs)
    before, after = adapter.input_prefix, adapter.input_suffix + adapter.output_prefix.rstrip()
    [stop] = adapter.stop_sequences
    return [
        Example(prompt=before + instance.input.text + after, answer=instance.references[0].output.text + stop)
        for instance in scenario.get_instances(output_path="")
    ]


def _adapter_spec(num_parenthesis_pairs: int) -> AdapterSpec:
    run_specs = [get_dyck_language_spec(num_parenthesis_pairs)]
    for expander in (InstructionsRunExpander("none"), PromptRunExpander("input_output")):
        run_specs = [expanded for run_spec in run_specs for expanded in expander.expand(run_spec)]
    return run_specs[0].adapter_spec
