"""Options that state the load of a server, shared by the commands that score requests at load."""

from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.core.serving.server import Speculation
    from helm_efficiency.metrics.at_load import BusyServer

SloOption = Annotated[
    str | None,
    typer.Option("--slo", help="Load: the highest that keeps these for 95 % of requests, as ttft=1s,tpot=50ms."),
]
ConcurrencyOption = Annotated[
    float | None, typer.Option("--concurrency", help="Load: clients that each wait for their answer.")
]
RateOption = Annotated[float | None, typer.Option("--rate", help="Load: requests a second, arriving at random.")]
SpeculateOption = Annotated[
    str | None,
    typer.Option("--speculate", help="At load: tokens drafted a step and share accepted, such as 3:0.7."),
]
PrefixCacheOption = Annotated[
    bool, typer.Option("--prefix-cache", help="At load: prompt tokens that the provider had cached need no prefill.")
]
DisaggregatedOption = Annotated[
    bool,
    typer.Option("--disaggregated", help="Refused: not modelled.", hidden=True),
]


def busy_server(
    slo: str | None,
    concurrency: float | None,
    rate: float | None,
    *,
    speculate: str | None = None,
    prefix_cache: bool = False,
) -> "BusyServer":
    """Return the busy server that the options describe.

    Raises:
        InputError: The options state two loads, or a value cannot be read.
    """
    from helm_efficiency.core.serving.load import DEFAULT_LEVEL, Load, ServiceLevel
    from helm_efficiency.metrics.at_load import BusyServer

    if sum(each is not None for each in (slo, concurrency, rate)) > 1:
        raise InputError("--slo, --concurrency and --rate exclude each other: state one load.")
    if concurrency is not None and not concurrency >= 1:
        raise InputError(f"--concurrency is {concurrency:g}, expected 1 or more.")
    if rate is not None and not rate > 0:
        raise InputError(f"--rate is {rate:g}, expected more than 0.")
    level = DEFAULT_LEVEL if slo is None else ServiceLevel.parse(slo)
    return BusyServer(Load(concurrency, rate, level=level), _speculation(speculate), prefix_cache)


def refuse_disaggregated(disaggregated: bool) -> None:
    """Fail if --disaggregated is given: this package does not model such servers.

    Raises:
        InputError: The option was given.
    """
    if disaggregated:
        raise InputError(
            "--disaggregated: servers that prefill and decode on accelerators of their own are not modelled. "
            "Leave it out for one server that does both."
        )


def _speculation(text: str | None) -> "Speculation | None":
    from helm_efficiency.core.serving.server import Speculation

    if text is None:
        return None
    tokens, _, acceptance = text.partition(":")
    try:
        return Speculation(int(tokens), float(acceptance))
    except ValueError as error:
        raise InputError(f"--speculate {text!r}: expected tokens and the share accepted, such as 3:0.7.") from error
