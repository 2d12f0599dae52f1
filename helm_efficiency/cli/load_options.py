"""Options that state the load of a server."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.core.serving.server import Speculation
    from helm_efficiency.metrics.at_load import BusyServer


@dataclass(frozen=True)
class LoadOptions:
    """Load of a busy server, and what the server does to bear it."""

    slo: Annotated[
        str | None,
        "Load: the highest that keeps these for 95 % of requests, as ttft=1s,tpot=50ms.",
    ] = None
    concurrency: Annotated[float | None, "Load: clients that each wait for their answer."] = None
    rate: Annotated[float | None, "Load: requests a second, arriving at random."] = None
    speculate: Annotated[str | None, "At load: tokens drafted a step and share accepted, such as 3:0.7."] = None
    prefix_cache: Annotated[bool, "At load: prompt tokens that the provider cached need no prefill."] = False
    disaggregated: Annotated[bool, typer.Option("--disaggregated", help="Refused: not modelled.", hidden=True)] = False

    def server(self) -> "BusyServer":
        """Return the busy server.

        Raises:
            InputError: Two loads are stated, a value cannot be read, or the server is not modelled.
        """
        from helm_efficiency.core.serving.load import DEFAULT_LEVEL, Load, ServiceLevel
        from helm_efficiency.metrics.at_load import BusyServer

        if self.disaggregated:
            raise InputError(
                "--disaggregated: servers that prefill and decode on accelerators of their own are not modelled. "
                "Leave it out for one server that does both."
            )
        if sum(each is not None for each in (self.slo, self.concurrency, self.rate)) > 1:
            raise InputError("--slo, --concurrency and --rate exclude each other: state one load.")
        if self.concurrency is not None and not self.concurrency >= 1:
            raise InputError(f"--concurrency is {self.concurrency:g}, expected 1 or more.")
        if self.rate is not None and not self.rate > 0:
            raise InputError(f"--rate is {self.rate:g}, expected more than 0.")
        level = DEFAULT_LEVEL if self.slo is None else ServiceLevel.parse(self.slo)
        return BusyServer(Load(self.concurrency, self.rate, level=level), self._speculation(), self.prefix_cache)

    def _speculation(self) -> "Speculation | None":
        from helm_efficiency.core.serving.server import Speculation

        if self.speculate is None:
            return None
        tokens, _, acceptance = self.speculate.partition(":")
        try:
            return Speculation(int(tokens), float(acceptance))
        except ValueError as error:
            raise InputError(
                f"--speculate {self.speculate!r}: expected tokens and the share accepted, such as 3:0.7."
            ) from error
