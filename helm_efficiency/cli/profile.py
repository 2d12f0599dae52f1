"""The command that measures: profile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, StoreOption, counts_of, note
from helm_efficiency.cli.profiling_output import progress, show
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.profiling.cells import CellResult
    from helm_efficiency.profiling.checkpoint import CellFiles
    from helm_efficiency.profiling.choice import CellChoice
    from helm_efficiency.profiling.endpoint.options import EndpointOptions
    from helm_efficiency.profiling.models import ModelOptions
    from helm_efficiency.profiling.noise import Repetitions
    from helm_efficiency.profiling.session import Limits, Outcome

    Tell = Callable[[str, CellResult], None]
    Sessions = Iterator[tuple[Profile, Outcome]]


def _option(help: str, *names: str, panel: str | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel)


_LOCAL, _ENDPOINT, _SIMULATED = "Local models", "Endpoints", "Simulated models"

Model = Annotated[str | None, typer.Argument(help="Folder or name of a model; with --base-url, the server's name.")]
Engine = Annotated[list[str] | None, _option("transformers-eager (default), transformers-compiled; or the server's.")]
Random = _option(
    "MODEL is a config.json or a known architecture: make its weights up.", "--random-weights", panel=_LOCAL
)
Trust = _option("Run Python that comes with the model; else refused.", "--trust-remote-code", panel=_LOCAL)
Stream = _option("Whether to stream, which shows the first token.", "--stream/--no-stream", panel=_ENDPOINT)


@app.command(rich_help_panel="Measure")
def profile(
    model: Model = None,
    *,
    deployment: Annotated[str | None, _option("Name for the coefficients; by default that of the model.")] = None,
    prompt_tokens: Annotated[str, _option("Prompt lengths, such as 1,256,1024; by default chosen.")] = "",
    output_tokens: Annotated[str, _option("Output lengths; decode needs at least two.")] = "1,32",
    repetitions: Annotated[int, _option("Timed runs of each cell; up to three times as many if noisy.")] = 5,
    target_error: Annotated[float, _option("Wanted error, as a fraction.")] = 0.02,
    budget_seconds: Annotated[float | None, _option("No further cell is begun after this; requests end.")] = None,
    fresh: Annotated[bool, _option("Forget what was measured before.", "--fresh")] = False,
    campaign: Annotated[Path | None, _option("YAML file of many models, instead of one.")] = None,
    engine: Engine = None,
    dtype: Annotated[str, _option("fp32, bf16, fp16 or auto; of an endpoint, what it runs.")] = "auto",
    device: Annotated[str, _option("cpu, cuda or auto.", panel=_LOCAL)] = "auto",
    batch_sizes: Annotated[str, _option("Rows in one forward pass.", panel=_LOCAL)] = "1",
    random_weights: Annotated[bool, Random] = False,
    trust_remote_code: Annotated[bool, Trust] = False,
    base_url: Annotated[str | None, _option("Such as http://localhost:8000/v1.", panel=_ENDPOINT)] = None,
    chat: Annotated[bool, _option("Use chat/completions.", "--chat", panel=_ENDPOINT)] = False,
    stream: Annotated[bool, Stream] = True,
    concurrency: Annotated[str, _option("Requests sent together, such as 1,8.", panel=_ENDPOINT)] = "1",
    shared_prompts: Annotated[
        bool, _option("Repeat prompts, for caches.", "--shared-prompts", panel=_ENDPOINT)
    ] = False,
    extra_body: Annotated[str, _option("JSON object of further request fields.", panel=_ENDPOINT)] = "{}",
    api_key_env: Annotated[str, _option("Variable that holds the API key.", panel=_ENDPOINT)] = "OPENAI_API_KEY",
    timeout_seconds: Annotated[float, _option("Longest that one request may take.", panel=_ENDPOINT)] = 600.0,
    stack: Annotated[str | None, _option("Name of the server's stack.", panel=_ENDPOINT)] = None,
    accelerator: Annotated[str, _option("What the server runs on, if known; what is simulated.")] = "unknown",
    simulated: Annotated[
        bool, _option("Sum kernel times that others measured; no accelerator needed.", "--simulated", panel=_SIMULATED)
    ] = False,
    tensor_parallel: Annotated[int, _option("Accelerators that share each layer.", panel=_SIMULATED)] = 1,
    expert_parallel: Annotated[int, _option("Groups that the experts are dealt out to.", panel=_SIMULATED)] = 1,
    cache_dtype: Annotated[str, _option("Key-value cache: bf16, fp8 or auto.", panel=_SIMULATED)] = "auto",
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Time a local transformers model, or an endpoint with --base-url; goes on where an earlier call was ended.

    With --simulated nothing is timed: kernel times that were measured on real accelerators are summed.

    Example: helm-efficiency profile ./my-model --deployment me/my-model --prompt-tokens 1,256,1024
    """
    from helm_efficiency.profiling.endpoint.options import EndpointOptions
    from helm_efficiency.store import Store

    opened = Store(store)  # refuse another program's file before measuring anything for it
    wanted = _wanted_cells(prompt_tokens, output_tokens, batch_sizes, target_error=target_error)
    with progress() as tell:
        run = _Run(store, deployment, wanted, repetitions, target_error, budget_seconds, fresh, tell)
        if campaign is not None:
            sessions = run.campaign(campaign)
        elif base_url is not None:
            extra = _json_object(extra_body)
            options = EndpointOptions(base_url, model or "", chat, stream, api_key_env, extra, timeout_seconds)
            given = {
                "stack_name": stack or "",
                "accelerator": _given(accelerator, "unknown"),
                "engine": engine[0] if engine else "",
                "dtype": _given(dtype),
            }
            sessions = run.endpoint(options, given, concurrency=counts_of(concurrency), shared_prompts=shared_prompts)
        elif model is None:
            raise InputError("Nothing to profile: name a model, or a file with --campaign.")
        elif simulated:
            runs_on = (accelerator, engine, dtype, cache_dtype)
            sessions = run.simulated(model, *runs_on, parallel=(tensor_parallel, expert_parallel), stack=stack)
        else:
            from helm_efficiency.profiling.models import ModelOptions

            placed = ModelOptions(device, dtype, trust_remote_code)
            sessions = run.local(model, placed, engines=engine, random_weights=random_weights)
        done = []
        for measured, outcome in sessions:
            opened.put_profile(measured)
            done.append((measured, outcome))
    show(done, format)
    for name, reason in run.failures.items():
        note(f"{name} failed: {reason}")
    note(f"Measurements are in {store}. Next: helm-efficiency fit --store {store}")
    if run.failures or not all(outcome.finished for _, outcome in done):
        raise typer.Exit(1)


@dataclass
class _Run:
    """Options that all ways of profiling have in common."""

    store: Path
    deployment: str | None
    cells: "CellChoice"
    num_repetitions: int
    target_error: float
    budget_s: float | None
    fresh: bool
    tell: "Tell"
    failures: dict[str, str] = field(default_factory=dict)

    def local(
        self, model: str, options: "ModelOptions", *, engines: Sequence[str] | None, random_weights: bool
    ) -> "Sessions":
        """Profile a model on this machine."""
        from helm_efficiency.profiling.jobs import LocalJob, prepare_job, run_job

        job = LocalJob(
            model,
            self.deployment or helm_name(model),
            random_weights,
            options,
            tuple(engines or ["transformers-eager"]),
            self.cells,
            self._repetitions(),
        )
        prepared = prepare_job(job, self._files(), fresh=self.fresh)
        return run_job(prepared, limits=self._limits(), on_result=partial(self.tell, job.deployment))

    def endpoint(
        self,
        options: "EndpointOptions",
        given: Mapping[str, str],
        *,
        concurrency: tuple[int, ...],
        shared_prompts: bool,
    ) -> "Sessions":
        """Profile a server; `given` holds the user's stack name, accelerator, engine and dtype."""
        from helm_efficiency.profiling.endpoint.jobs import EndpointJob, run_endpoint_job

        cells = replace(self.cells, batch_sizes=concurrency)
        job = EndpointJob(
            options,
            self.deployment or "",
            shared_prompts=shared_prompts,
            cells=cells,
            repetitions=self._repetitions(),
            **given,
        )
        tell = partial(self.tell, job.deployment or options.model)
        yield run_endpoint_job(job, self._files(), fresh=self.fresh, limits=self._limits(), on_result=tell)

    def simulated(
        self,
        model: str,
        accelerator: str,
        engines: Sequence[str] | None,
        dtype: str,
        cache_dtype: str,
        *,
        parallel: tuple[int, int],
        stack: str | None,
    ) -> "Sessions":
        """Simulate a model, once for each engine."""
        from helm_efficiency.profiling.simulated.aiconfigurator import Deployment
        from helm_efficiency.profiling.simulated.jobs import SimulatedJob, run_simulated_job

        for engine in engines or ["vllm"]:
            runs_on = Deployment(accelerator, engine, _given(dtype), *parallel, _given(cache_dtype))
            job = SimulatedJob(model, self.deployment or model, runs_on, self.cells, stack or "")
            yield run_simulated_job(job, on_result=partial(self.tell, job.deployment))

    def campaign(self, path: Path) -> "Sessions":
        """Profile the models of a campaign file."""
        from helm_efficiency.profiling.campaign import read_campaign, run_campaign

        reached = run_campaign(
            read_campaign(path),
            self._files(),
            fresh=self.fresh,
            limits=self._limits(),
            on_model=lambda job, _: partial(self.tell, job.deployment),
        )
        self.failures.update(reached.failures)
        return ((reached.profiles[key], reached.outcomes[key]) for key in reached.profiles)

    def _files(self) -> "CellFiles":
        from helm_efficiency.profiling.checkpoint import CellFiles

        return CellFiles(self.store.with_suffix(".cells"))

    def _limits(self) -> "Limits":
        from helm_efficiency.profiling.session import Limits

        return Limits.of_budget(self.budget_s)

    def _repetitions(self) -> "Repetitions":
        from helm_efficiency.profiling.noise import Repetitions

        return Repetitions.of_target(self.num_repetitions, self.target_error)


def helm_name(model: str) -> str:
    """Return the name that HELM gives a model with --enable-local-huggingface-models or --enable-huggingface-models.

    >>> helm_name("./models/tiny"), helm_name("Qwen/Qwen3-8B")
    ('huggingface/tiny', 'Qwen/Qwen3-8B')
    """
    is_folder = Path(model).exists() or model.startswith((".", "/", "~"))
    path = Path(model).absolute().parent if Path(model).name == "config.json" else Path(model)
    return model if "/" in model and not is_folder else f"huggingface/{path.name}"


def _wanted_cells(prompt_tokens: str, output_tokens: str, batch_sizes: str, *, target_error: float) -> "CellChoice":
    from helm_efficiency.profiling.choice import CellChoice

    return CellChoice(
        counts_of(prompt_tokens, or_none=True),
        counts_of(output_tokens),
        counts_of(batch_sizes),
        target_error_fraction=target_error,
    )


def _given(option: str, default: str = "auto") -> str:
    """Return an option's value, empty for its default."""
    return "" if option == default else option


def _json_object(text: str) -> Mapping[str, Any]:
    import msgspec

    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"--extra-body {text!r} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"--extra-body {text!r}: expected a JSON object.")
    return value
