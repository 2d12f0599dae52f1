"""Score records with coefficients: the efficiency of each request, on one stack at a time.

Only this module combines records of facts with coefficients. Live HELM runs, re-scoring of archives and every adapter
call it, so that they give the same numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self

import numpy as np
from numpy.typing import NDArray

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.arrays import BoolArray, FloatArray
from helm_efficiency.core.cost import accelerator_usd, mean_power_w
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.runtime_model import Prediction
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.at_load import DEFAULT_BUSY_SERVER, BusyServer, Loaded, Requests, loaded
from helm_efficiency.metrics.pricing import ApiUsd, Pricing
from helm_efficiency.store import SERVICE_STACK_PREFIX, Store


@dataclass(frozen=True, slots=True)
class Match:
    """Coefficients that a deployment was matched to, and the way it was matched: `name`, `model` or `architecture`."""

    fit: Fit
    matched_by: str


@dataclass(frozen=True, slots=True)
class ScoredRequests:
    """Efficiency of requests on one stack: arrays parallel to the records, NaN where a number is missing.

    Attributes:
        stack: Name of the stack asked for; None if the store has no idealized coefficients.
        choices: Matches of the deployments among the records; None for a deployment that matched nothing.
        choice: Index into `choices` of each record's match.
        reasons: Reason why a record has no idealized runtime; empty if it has one.
        idealized: Idealized seconds.
        denoised: Denoised seconds of the deployment's own service; missing if only an upper bound is known.
        denoised_s_at_most: Upper bound of the denoised seconds; equal to them if they are known.
        num_accelerators: Accelerators that the model occupies on the stack.
        prices: Exact price of one accelerator ($ per hour), by choice; None if no price is known.
        energy_j: Energy of those accelerators (J), if the profile measured their power.
        loaded_s: Seconds on a busy server.
        loaded_accelerator_s: Accelerator-seconds that the request pays for on the busy server.
        loaded_energy_j: Energy on the busy server (J), if it was published for the accelerator.
        load: Load of the busy server; empty for none.
        load_reasons: Reason why a record with an idealized runtime has no numbers at load; empty if it has them.
        api_usd: Dollars that the provider billed, at the price on the day of the request.
        api_usd_today: Dollars of the same tokens at the price on the day of scoring.
        api_usd_at_least: Lower bound of `api_usd` if token counts are too low; otherwise equal to `api_usd`.
    """

    stack: str | None
    choices: tuple[Match | None, ...]
    choice: NDArray[np.intp]
    reasons: tuple[str, ...]
    idealized: Prediction
    denoised: Prediction
    denoised_s_at_most: FloatArray
    num_accelerators: FloatArray
    prices: tuple[Decimal | None, ...]
    energy_j: FloatArray
    loaded_s: FloatArray
    loaded_accelerator_s: FloatArray
    loaded_energy_j: FloatArray
    load: str
    load_reasons: tuple[str, ...]
    api_usd: FloatArray
    api_usd_today: FloatArray
    api_usd_at_least: FloatArray

    @property
    def matches(self) -> tuple[Match | None, ...]:
        """Match of each record; None for a record that matched nothing."""
        return tuple(self.choices[place] for place in self.choice.tolist())

    @property
    def accelerator_s(self) -> FloatArray:
        """Idealized seconds times the number of accelerators."""
        return self.idealized.seconds * self.num_accelerators

    @property
    def idealized_usd(self) -> FloatArray:
        """Price of the idealized accelerator-seconds ($)."""
        return self._usd(self.accelerator_s)

    @property
    def usd_per_accelerator_hour(self) -> FloatArray:
        """Price of one accelerator ($ per hour), rounded to a float64."""
        return np.array([np.nan if price is None else float(price) for price in self.prices])[self.choice]

    @property
    def loaded_usd(self) -> FloatArray:
        """Accelerator-seconds at load times the price ($)."""
        return self._usd(self.loaded_accelerator_s)

    def _usd(self, accelerator_s: FloatArray) -> FloatArray:
        """Return the price of accelerator-seconds ($), shape (n,); NaN where no price is known."""
        usd = np.full(len(self.choice), np.nan)
        for index, price in enumerate(self.prices):
            if price is not None:
                rows = self.choice == index
                usd[rows] = accelerator_usd(accelerator_s[rows], price)
        return usd

    def part(self, rows: slice) -> "ScoredRequests":
        """Return the scores of a slice of the records."""
        return replace(
            self,
            choice=self.choice[rows],
            reasons=self.reasons[rows],
            idealized=_part(self.idealized, rows),
            denoised=_part(self.denoised, rows),
            denoised_s_at_most=self.denoised_s_at_most[rows],
            num_accelerators=self.num_accelerators[rows],
            energy_j=self.energy_j[rows],
            loaded_s=self.loaded_s[rows],
            loaded_accelerator_s=self.loaded_accelerator_s[rows],
            loaded_energy_j=self.loaded_energy_j[rows],
            load_reasons=self.load_reasons[rows],
            api_usd=self.api_usd[rows],
            api_usd_today=self.api_usd_today[rows],
            api_usd_at_least=self.api_usd_at_least[rows],
        )


def _known(prediction: Prediction, is_known: NDArray[np.bool_]) -> Prediction:
    """Return a prediction with NaN for the seconds that are not known."""
    if is_known.all():
        return prediction
    seconds, low_s, high_s = (np.where(is_known, each, np.nan) for each in prediction[:3])
    return Prediction(seconds, low_s, high_s, prediction.in_domain)


def _part(prediction: Prediction, rows: slice) -> Prediction:
    seconds, low_s, high_s, in_domain = prediction
    return Prediction(seconds[rows], low_s[rows], high_s[rows], in_domain[rows])


@dataclass(frozen=True, slots=True)
class Coefficients:
    """All fits of a store, looked up by stack and deployment.

    Attributes:
        idealized: Fits by stack name, then by deployment.
        services: Fits of services by deployment.
        power_w: Power that one accelerator drew (W), by stack name and deployment, if a profile measured it.
        by_architecture: Fits by stack name, then by name of the architecture, for models with the same layers.

    Example:
        >>> from helm_efficiency import Coefficients, Store
        >>> Coefficients.from_store(Store()).default_stack()
        'a100-80gb-megatron-fp16'
    """

    idealized: dict[str, dict[str, Fit]] = field(default_factory=dict)
    services: dict[str, Fit] = field(default_factory=dict)
    power_w: dict[tuple[str, str], float] = field(default_factory=dict)
    by_architecture: dict[str, dict[str, Fit]] = field(default_factory=dict)

    @classmethod
    def from_fits(cls, fits: Iterable[Fit]) -> "Coefficients":
        """Sort fits into idealized stacks and services."""
        idealized: dict[str, dict[str, Fit]] = {}
        services: dict[str, Fit] = {}
        for fit in fits:
            if fit.stack.name.startswith(SERVICE_STACK_PREFIX):
                services[fit.deployment] = fit
            else:
                idealized.setdefault(fit.stack.name, {})[fit.deployment] = fit
        return cls(idealized, services, by_architecture={name: _shared(of) for name, of in idealized.items()})

    @classmethod
    def from_store(cls, store: Store) -> "Coefficients":
        """Read all fits of a store, and the power that its profiles measured, once."""
        power_w = {
            (profile.stack.name, profile.deployment): watts
            for profile in store.profiles()
            if (watts := mean_power_w(profile)) is not None
        }
        return replace(cls.from_fits(store.fits()), power_w=power_w)

    def default_stack(self) -> str | None:
        """Return the stack with the most profiled deployments; ties go to the most deployments, then to the name."""

        def order(stack: str) -> tuple[int, int, str]:
            fits = self.idealized[stack].values()
            return -sum(bool(fit.profile_sha256) for fit in fits), -len(fits), stack

        return min(self.idealized, key=order, default=None)

    def match(self, stack: str, deployment: str, model: str) -> Match | None:
        """Return the coefficients of a deployment: its own, else those of its HELM model, else of its architecture."""
        fits = self.idealized.get(stack, {})
        for name, matched_by in ((deployment, "name"), (model, "model")):
            if name in fits:
                return Match(fits[name], matched_by)
        catalog = load_architectures()
        entry = catalog.of_model(model) or catalog.of_model(deployment)
        shared = self.by_architecture.get(stack, {}).get(entry.architecture.name) if entry else None
        return Match(shared, "architecture") if shared else None

    def near_text(self, deployment: str) -> str:
        """Return the end of a sentence that says under which name or on which stack a deployment was profiled."""
        last = deployment.rpartition("/")[2].lower()
        for stack, fits in self.idealized.items():
            if deployment in fits:
                return f"; it has some on {stack}: --stack {stack}"
            for name in fits:
                if name.rpartition("/")[2].lower() == last:
                    return f"; profiled as {name!r} on {stack}: rename with import --deployment {deployment}"
        return ""


def _shared(fits: Mapping[str, Fit]) -> dict[str, Fit]:
    """Return a stack's fits by architecture, for other models with it: a measured fit has tier `shared` for them."""
    catalog = load_architectures()
    by_architecture: dict[str, list[tuple[bool, int, str]]] = {}
    for deployment, fit in fits.items():
        entry = catalog.of_model(deployment)
        if entry is not None:
            names = entry.helm_models
            place = names.index(deployment) if deployment in names else len(names)
            by_architecture.setdefault(entry.architecture.name, []).append(
                (fit.tier != Tier.measured, place, deployment)
            )
    # A measured fit comes before others, and the model itself before its derivatives.
    chosen = {name: fits[min(candidates)[-1]] for name, candidates in by_architecture.items()}
    return {name: replace(fit, tier=Tier.shared) if fit.tier == Tier.measured else fit for name, fit in chosen.items()}


def decoded_tokens(record: RequestRecord) -> int | None:
    """Return the tokens that take decode time: a request's completions run as a batch, as long as the longest one."""
    if record.num_completions <= 1:
        return record.output_tokens
    if record.max_completion_tokens is not None:
        return record.max_completion_tokens
    return None if record.output_tokens is None else -(-record.output_tokens // record.num_completions)


def score_requests(
    records: Sequence[RequestRecord],
    coefficients: Coefficients,
    *,
    stacks: Sequence[str | None],
    pricing: Pricing | None = None,
    busy: BusyServer | None = DEFAULT_BUSY_SERVER,
) -> list[ScoredRequests]:
    """Score requests on one stack or several.

    Args:
        records: Requests of any deployments.
        coefficients: Fits in which the deployments are looked up.
        stacks: Names of the stacks; None scores observed services only.
        pricing: Prices; None leaves dollars missing.
        busy: Load of a server under which the records of each deployment are scored as well; None for none.

    Returns:
        The scores on each stack: arrays parallel to the records.

    Example:
        >>> from helm_efficiency import Coefficients, RequestRecord, Store, score_requests
        >>> names = {"harness": "mine", "suite": "", "run": "chat", "scenario": "chat", "model": "openai/davinci"}
        >>> names |= {"deployment": "openai/davinci", "instance_id": "1"}
        >>> asked = RequestRecord(**names, prompt_tokens=512, output_tokens=16)
        >>> (scored,) = score_requests([asked], Coefficients.from_store(Store()), stacks=["a100-80gb-megatron-fp16"])
        >>> scored.accelerator_s.round(1).tolist(), scored.matches[0].matched_by
        ([11.2], 'name')
    """
    asked = _Asked.by(records)
    missing = np.full(len(records), np.nan)
    api_usd = pricing.api_usd(records) if pricing else ApiUsd(missing, missing, missing)
    usd_per_hour = pricing.usd_per_accelerator_hour if pricing else {}
    services = [coefficients.services.get(deployment) for deployment, _ in asked.of_whom]
    at_most = asked.predict(services)
    denoised = _known(at_most, asked.numbers(services, lambda fit: float(fit.is_upper_bound)) != 1.0)
    scored = []
    for stack in stacks:
        choices = tuple(coefficients.match(stack, *whom) if stack else None for whom in asked.of_whom)
        fits = [match.fit if match else None for match in choices]
        idealized = asked.predict(fits)
        num_accelerators = asked.numbers(fits, lambda fit: fit.stack.num_accelerators)
        at_load, load_reasons = asked.at_load(fits, busy)
        power_w = asked.numbers(fits, lambda fit: coefficients.power_w.get((fit.stack.name, fit.deployment), np.nan))
        scored.append(
            ScoredRequests(
                stack=stack,
                choices=choices,
                choice=asked.choice,
                reasons=asked.reasons(choices, stack, coefficients),
                idealized=idealized,
                denoised=denoised,
                denoised_s_at_most=at_most.seconds,
                num_accelerators=num_accelerators,
                prices=tuple(None if fit is None else usd_per_hour.get(fit.stack.accelerator) for fit in fits),
                energy_j=idealized.seconds * num_accelerators * power_w,
                loaded_s=at_load.seconds,
                loaded_accelerator_s=at_load.accelerator_s,
                loaded_energy_j=at_load.energy_j,
                load="" if busy is None else str(busy),
                load_reasons=load_reasons,
                api_usd=api_usd.on_the_day,
                api_usd_today=api_usd.today,
                api_usd_at_least=api_usd.at_least,
            )
        )
    return scored


@dataclass(frozen=True, slots=True)
class _Asked:
    """Facts of requests that scoring needs.

    Attributes:
        of_whom: Pairs of deployment and model, each once.
        choice: Index into these pairs of each request's own pair.
        prompt_tokens: Prompt tokens of each request; NaN if unknown.
        output_tokens: Output tokens of each request; NaN if unknown.
        decoded_tokens: Tokens of each request that take decode time, see `decoded_tokens`; NaN if unknown.
        completions: Completions of each request; 1 if unknown.
        cached_tokens: Prompt tokens that the provider's cache held; 0 if unknown.
    """

    of_whom: tuple[tuple[str, str], ...]
    choice: NDArray[np.intp]
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    decoded_tokens: FloatArray
    completions: FloatArray
    cached_tokens: FloatArray

    @classmethod
    def by(cls, records: Sequence[RequestRecord]) -> Self:
        places: dict[tuple[str, str], int] = {}
        choice = [places.setdefault((record.deployment, record.model), len(places)) for record in records]
        counts = (
            [record.prompt_tokens for record in records],
            [record.output_tokens for record in records],
            [decoded_tokens(record) for record in records],
            [max(record.num_completions, 1) for record in records],
            [record.cache_read_tokens or 0 for record in records],
        )
        tokens = [np.array(column, dtype=np.float64) for column in counts]  # None becomes NaN
        return cls(tuple(places), np.array(choice, dtype=np.intp), *tokens)

    def numbers(self, fits: Sequence[Fit | None], number: Callable[[Fit], float]) -> FloatArray:
        """Return a number of each request's fit; NaN for a request without a fit."""
        return np.array([np.nan if fit is None else number(fit) for fit in fits], dtype=np.float64)[self.choice]

    def reasons(
        self, choices: Sequence[Match | None], stack: str | None, coefficients: Coefficients
    ) -> tuple[str, ...]:
        """Return the reason why each request has no idealized runtime; empty if it has one."""
        unmatched = [
            _reason(match, deployment, stack, "" if match else coefficients.near_text(deployment))
            for match, (deployment, _) in zip(choices, self.of_whom, strict=True)
        ]
        reasons = [unmatched[place] for place in self.choice.tolist()]
        for tokens, whose in ((self.prompt_tokens, "prompt"), (self.output_tokens, "output")):
            for row in np.flatnonzero(np.isnan(tokens)).tolist():
                reasons[row] = reasons[row] or f"{whose} tokens missing"
        return tuple(reasons)

    def predict(self, fits: Sequence[Fit | None]) -> Prediction:
        """Predict each request with its fit; NaN if the fit or a token count is missing."""
        seconds, low_s, high_s = (np.full(len(self.choice), np.nan) for _ in range(3))
        in_domain: BoolArray = np.zeros(len(self.choice), dtype=np.bool_)
        known = ~np.isnan(self.prompt_tokens) & ~np.isnan(self.decoded_tokens)
        for place, fit in enumerate(fits):
            rows = np.flatnonzero(known & (self.choice == place))
            if fit is not None and len(rows):
                tokens = self.prompt_tokens[rows].astype(np.int64), self.decoded_tokens[rows].astype(np.int64)
                seconds[rows], low_s[rows], high_s[rows], in_domain[rows] = fit.coefficients.predict(*tokens)
        return Prediction(seconds, low_s, high_s, in_domain)

    def at_load(self, fits: Sequence[Fit | None], busy: BusyServer | None) -> tuple[Loaded, tuple[str, ...]]:
        """Serve each deployment's requests together; NaN and the reason if that is impossible."""
        numbers = Loaded(*(np.full(len(self.choice), np.nan) for _ in Loaded._fields))
        reasons = [""] * len(self.choice)
        if busy is None:
            return numbers, tuple(reasons)
        known = ~np.isnan(self.prompt_tokens) & ~np.isnan(self.decoded_tokens)
        columns = (self.prompt_tokens, self.decoded_tokens, self.completions, self.cached_tokens)
        for place, fit in enumerate(fits):
            rows = np.flatnonzero(known & (self.choice == place))
            if fit is not None and len(rows):
                found, reason = loaded(fit, Requests(*(c[rows] for c in columns)), busy)
                for column, values in zip(numbers, found, strict=True):
                    column[rows] = values
                if reason:
                    for row in rows.tolist():
                        reasons[row] = f"{fit.deployment} at load: {reason}"
        return numbers, tuple(reasons)


def _reason(match: Match | None, deployment: str, stack: str | None, near: str) -> str:
    if stack is None:
        return "the store has no coefficients"
    return "" if match else f"no coefficients for {deployment} on {stack}{near}"
