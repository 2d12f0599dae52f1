"""profile: measure a model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

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
    from helm_efficiency.profiling.noise import Repetitions
    from helm_efficiency.profiling.session import Limits, Outcome

    Tell = Callable[[str, CellResult], None]
    Sessions = Iterator[tuple[Profile, Outcome]]


@dataclass(frozen=True)
class _Cells:
    """Options on the cells to measure, and on how well."""

    prompt_tokens: Annotated[str, "Prompt lengths, such as 1,256,1024; by default chosen."] = ""
    output_tokens: Annotated[str, "Output lengths; decode needs at least two."] = "1,32"
    repetitions: Annotated[int, "Timed runs of each cell; up to three times as many if noisy."] = 5
    target_error: Annotated[float, "Wanted error, as a fraction."] = 0.02
    budget_seconds: Annotated[float | None, "No further cell is begun after this; requests end."] = None
    fresh: Annotated[bool, "Forget what was measured before."] = False

    def choice(self, batch_sizes: str) -> "CellChoice":
        """Return the cells of these batch sizes, or numbers of requests sent together."""
        from helm_efficiency.profiling.choice import CellChoice

        return CellChoice(
            counts_of(self.prompt_tokens, or_none=True),
            counts_of(self.output_tokens),
            counts_of(batch_sizes),
            target_error_fraction=self.target_error,
        )

    def limits(self) -> "Limits":
        """Return the limits of the session."""
        from helm_efficiency.profiling.session import Limits

        return Limits.of_budget(self.budget_seconds)

    def noise(self) -> "Repetitions":
        """Return the number of repetitions of a cell."""
        from helm_efficiency.profiling.noise import Repetitions

        return Repetitions.of_target(self.repetitions, self.target_error)


@dataclass(frozen=True)
class _Local:
    """Options of models that run on this machine."""

    PANEL: ClassVar[str] = "Local models"

    device: Annotated[str, "cpu, cuda or auto."] = "auto"
    batch_sizes: Annotated[str, "Rows in one forward pass."] = "1"
    random_weights: Annotated[bool, "MODEL is a config.json or a known architecture: make its weights up."] = False
    trust_remote_code: Annotated[bool, "Run Python that comes with the model; else refused."] = False


@dataclass(frozen=True)
class _Endpoint:
    """Options of servers."""

    PANEL: ClassVar[str] = "Endpoints"

    base_url: Annotated[str | None, "Such as http://localhost:8000/v1."] = None
    chat: Annotated[bool, "Use chat/completions."] = False
    stream: Annotated[bool, "Whether to stream, which shows the first token."] = True
    concurrency: Annotated[str, "Requests sent together, such as 1,8."] = "1"
    shared_prompts: Annotated[bool, "Repeat prompts, for caches."] = False
    extra_body: Annotated[str, "JSON object of further request fields."] = "{}"
    api_key_env: Annotated[str, "Variable that holds the API key."] = "OPENAI_API_KEY"
    timeout_seconds: Annotated[float, "Longest that one request may take."] = 600.0


@dataclass(frozen=True)
class _Simulated:
    """Options of models on hardware that is not there."""

    PANEL: ClassVar[str] = "Simulated models"

    simulated: Annotated[bool, "Sum kernel times that others measured; no accelerator needed."] = False
    tensor_parallel: Annotated[int, "Accelerators that share each layer."] = 1
    expert_parallel: Annotated[int, "Groups that the experts are dealt out to."] = 1
    cache_dtype: Annotated[str, "Key-value cache: bf16, fp8 or auto."] = "auto"


@dataclass(frozen=True)
class _Stack:
    """Options on the names of what is measured, and of what it runs on."""

    deployment: Annotated[str | None, "Name for the coefficients; by default that of the model."] = None
    engine: Annotated[list[str] | None, "transformers-eager (default), transformers-compiled; or the server's."] = None
    dtype: Annotated[str, "fp32, bf16, fp16 or auto; of an endpoint, what it runs."] = "auto"
    stack: Annotated[str | None, "Name of the server's stack."] = None
    accelerator: Annotated[str, "What the server runs on, if known; what is simulated."] = "unknown"


@app.command(rich_help_panel="Measure")
def profile(
    model: Annotated[str | None, "Folder or name of a model; with --base-url, the server's name."] = None,
    *,
    cells: _Cells,
    campaign: Annotated[Path | None, "YAML file of many models, instead of one."] = None,
    on: _Stack,
    local: _Local,
    endpoint: _Endpoint,
    simulated: _Simulated,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Time a local transformers model, or an endpoint with --base-url; goes on where an earlier call was ended.

    With --simulated nothing is timed: kernel times that were measured on real accelerators are summed.

    Example: helm-efficiency example && helm-efficiency profile example/config.json --random-weights
    --prompt-tokens 1,64 --output-tokens 1,8 --repetitions 2
    """
    from helm_efficiency.profiling.checkpoint import CellFiles
    from helm_efficiency.store import Store

    opened = Store(store)  # refuse another program's file before measuring anything for it
    with progress() as tell:
        run = _Run(cells, on, CellFiles(store.with_suffix(".cells")), tell)
        if campaign is not None:
            sessions = run.campaign(campaign)
        elif endpoint.base_url is not None:
            sessions = run.endpoint(model or "", endpoint.base_url, endpoint)
        elif model is None:
            raise InputError("Nothing to profile: name a model, or a file with --campaign.")
        elif simulated.simulated:
            sessions = run.simulated(model, simulated, local.batch_sizes)
        else:
            sessions = run.local(model, local)
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
    """One call: its options, the files of finished cells, and the models that failed."""

    cells: _Cells
    on: _Stack
    files: "CellFiles"
    tell: "Tell"
    failures: dict[str, str] = field(default_factory=dict)

    def local(self, model: str, local: _Local) -> "Sessions":
        """Profile a model on this machine."""
        from helm_efficiency.profiling.jobs import LocalJob, prepare_job, run_job
        from helm_efficiency.profiling.models import ModelOptions

        job = LocalJob(
            model,
            self.on.deployment or helm_name(model),
            local.random_weights,
            ModelOptions(local.device, self.on.dtype, local.trust_remote_code),
            tuple(self.on.engine or ["transformers-eager"]),
            self.cells.choice(local.batch_sizes),
            self.cells.noise(),
        )
        prepared = prepare_job(job, self.files, fresh=self.cells.fresh)
        return run_job(prepared, limits=self.cells.limits(), on_result=partial(self.tell, job.deployment))

    def endpoint(self, model: str, url: str, given: _Endpoint) -> "Sessions":
        """Profile a server."""
        from helm_efficiency.profiling.endpoint.jobs import EndpointJob, run_endpoint_job
        from helm_efficiency.profiling.endpoint.options import EndpointOptions

        extra = _json_object(given.extra_body)
        options = EndpointOptions(url, model, given.chat, given.stream, given.api_key_env, extra, given.timeout_seconds)
        on = self.on
        job = EndpointJob(
            options,
            on.deployment or _name_in_helm(url, model),
            shared_prompts=given.shared_prompts,
            cells=self.cells.choice(given.concurrency),
            repetitions=self.cells.noise(),
            stack_name=on.stack or "",
            accelerator=_given(on.accelerator, "unknown"),
            engine=on.engine[0] if on.engine else "",
            dtype=_given(on.dtype),
        )
        tell = partial(self.tell, job.deployment or model)
        yield run_endpoint_job(job, self.files, fresh=self.cells.fresh, limits=self.cells.limits(), on_result=tell)

    def simulated(self, model: str, how: _Simulated, batch_sizes: str) -> "Sessions":
        """Simulate a model, once for each engine."""
        from helm_efficiency.profiling.simulated.aiconfigurator import Deployment
        from helm_efficiency.profiling.simulated.jobs import SimulatedJob, run_simulated_job

        on, cells = self.on, self.cells.choice(batch_sizes)
        parallel = how.tensor_parallel, how.expert_parallel
        for engine in on.engine or ["vllm"]:
            runs_on = Deployment(on.accelerator, engine, _given(on.dtype), *parallel, _given(how.cache_dtype))
            job = SimulatedJob(model, on.deployment or model, runs_on, cells, on.stack or "")
            yield run_simulated_job(job, on_result=partial(self.tell, job.deployment))

    def campaign(self, path: Path) -> "Sessions":
        """Profile the models of a campaign file."""
        from helm_efficiency.profiling.campaign import read_campaign, run_campaign

        reached = run_campaign(
            read_campaign(path),
            self.files,
            fresh=self.cells.fresh,
            limits=self.cells.limits(),
            on_model=lambda job, _: partial(self.tell, job.deployment),
        )
        self.failures.update(reached.failures)
        return ((reached.profiles[key], reached.outcomes[key]) for key in reached.profiles)


def helm_name(model: str) -> str:
    """Return the name that HELM gives a model with --enable-local-huggingface-models or --enable-huggingface-models.

    >>> helm_name("./models/tiny"), helm_name("Qwen/Qwen3-8B")
    ('huggingface/tiny', 'Qwen/Qwen3-8B')
    """
    is_folder = Path(model).exists() or model.startswith((".", "/", "~"))
    path = Path(model).absolute().parent if Path(model).name == "config.json" else Path(model)
    return model if "/" in model and not is_folder else f"huggingface/{path.name}"


def _name_in_helm(url: str, model: str) -> str:
    """Return HELM's name of a server's model in this folder, so that profiles and runs meet; empty if it has none."""
    from helm_efficiency.catalog.helm_names import deployment_at

    found = deployment_at(url, model, DEFAULT_STORE.with_name("model_deployments.yaml"))
    if found:
        note(f"Its coefficients will be those of {found}, as in model_deployments.yaml.")
    return found or ""


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
