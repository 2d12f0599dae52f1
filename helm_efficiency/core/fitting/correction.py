"""Correct simulated times to those of a real server, by factors with intervals."""

from dataclasses import dataclass, replace

from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class Correction:
    """Factors that simulated times are multiplied by, with the deviation of single stacks from them.

    Attributes:
        prefill_factor: Factor of prefill.
        decode_factor: Factor of decode.
        prefill_error: Half-width of the nominal 90 % interval of prefill, as a fraction.
        decode_error: Half-width of the nominal 90 % interval of decode, as a fraction.
        step_s: Seconds of a decode step outside its kernels: scheduling, sampling, launches.
        row_s: Further seconds outside the kernels for each row of the batch.
        source: Origin of the factors.

    Raises:
        InputError: A factor or an error is not above 0.
    """

    prefill_factor: float
    decode_factor: float
    prefill_error: float
    decode_error: float
    step_s: float = 0.0
    row_s: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("prefill_factor", "decode_factor", "prefill_error", "decode_error"):
            if not 0 < getattr(self, name) < 1e3:
                raise InputError(f"Correction: {name} is {getattr(self, name)}, expected a number above 0.")
        if not (0 <= self.step_s < 1e3 and 0 <= self.row_s < 1e3):
            raise InputError(f"Correction: step_s {self.step_s} and row_s {self.row_s}, expected 0 or more.")


def corrected(coefficients: RuntimeCoefficients, correction: Correction) -> RuntimeCoefficients:
    """Return coefficients with every time multiplied, and with intervals that hold for a real server.

    Example:
        >>> from helm_efficiency.core.runtime_model import Domain
        >>> simulated = RuntimeCoefficients("linear", ((1, 0.010), (1000, 0.100)), 0.02, Domain(1, 1000, 1, 64))
        >>> corrected(simulated, Correction(1.5, 1.1, 0.3, 0.2)).prefill_s(1000).round(3).item()
        0.15
    """
    c, prefill, decode = coefficients, correction.prefill_factor, correction.decode_factor

    def step_s(seconds: float, size: int) -> float:
        return (seconds + correction.step_s + correction.row_s * size) * decode

    knots = tuple((tokens, seconds * prefill) for tokens, seconds in c.prefill_knots)
    return replace(
        c,
        prefill_knots=knots,
        prefill_error_s=tuple(seconds * correction.prefill_error for _, seconds in knots),
        decode_s_per_token=step_s(c.decode_s_per_token, 1),
        decode_s_per_context_token=c.decode_s_per_context_token * decode,
        decode_error=correction.decode_error,
        tail_s_per_token=None if c.tail_s_per_token is None else c.tail_s_per_token * prefill,
        tail_s_per_token_squared=c.tail_s_per_token_squared * prefill,
        batch_knots=tuple((size, factor, step_s(seconds, size)) for size, factor, seconds in c.batch_knots),
    )
