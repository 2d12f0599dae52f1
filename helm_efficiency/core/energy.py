"""Energy of a request on a loaded server, from the sizes of the model and the running batch.

    joules per output token = byte_j * weight_bytes(b) / b  +  parameter_j * active  +  idle_j * accelerators / sqrt(b)

with b requests in the batch, `weight_bytes(b)` the weights that a pass over b tokens reads, and `active` the weights
that a token goes through. The first term is the energy of memory, the second that of arithmetic, the third the rest
that an accelerator draws: measured energy falls with the batch more slowly than 1 / b. A prompt token costs the energy
of arithmetic only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares, nnls

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import BYTES_PER_PARAMETER

_OUTLIER_LOG = 0.2
"""Log error beyond which a row counts less in the fit: one model needs twice the energy of the others because its
kernels are slow. At 0.1 or 0.4 the mean error of left-out models changes by 0.2 percentage points or less."""


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """Measured energy of a model in a steady state.

    Attributes:
        architecture: Sizes of the model.
        dtype: Precision of the model's weights.
        num_accelerators: Accelerators that serve the model.
        batch_size: Mean running batch.
        j_per_output_token: Energy (J) of all accelerators for each output token.
    """

    architecture: Architecture
    dtype: str
    num_accelerators: int
    batch_size: float
    j_per_output_token: float


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of a request with its nominal 90 % interval, in joules."""

    joules: float
    low_j: float
    high_j: float


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Coefficients of the formula, on one accelerator.

    Attributes:
        byte_j: Energy (J) of a byte of weights that is read.
        parameter_j: Energy (J) of an active parameter for each token.
        idle_j: Energy (J) of an accelerator for each output token at a batch of one.
        low_factor: Lower end of the interval as a share of the estimate.
        high_factor: Upper end of the interval as a share of the estimate.
        min_batch: Smallest running batch that was measured.
        max_batch: Largest running batch that was measured.
    """

    byte_j: float
    parameter_j: float
    idle_j: float
    low_factor: float = 1.0
    high_factor: float = 1.0
    min_batch: float = 1.0
    max_batch: float = 1e9

    def j_per_output_token(self, architecture: Architecture, dtype: str, *, batch: float, accelerators: int) -> float:
        """Return the energy (J) of all accelerators for one output token of one request."""
        terms = _terms(architecture, dtype, batch, accelerators)
        return float(terms @ (self.byte_j, self.parameter_j, self.idle_j))

    def request(
        self, architecture: Architecture, dtype: str, lengths: tuple[float, float], *, batch: float, accelerators: int
    ) -> Energy | None:
        """Return the energy of a request of (prompt, output) tokens; None outside the batches and dtypes measured.

        Example:
            >>> llama = Architecture("llama", 32, 4096, 32, 8, 128, 14336, 128256, gated_ffn=True)
            >>> model = EnergyModel(170e-12, 3.4e-12, 0.74, min_batch=8.0)
            >>> model.request(llama, "bf16", (500, 100), batch=64, accelerators=1).joules  # doctest: +ELLIPSIS
            29.6...
            >>> model.request(llama, "bf16", (500, 100), batch=1, accelerators=1) is None
            True
        """
        if not self.min_batch <= batch <= self.max_batch or dtype not in BYTES_PER_PARAMETER:
            return None
        prompt, output = lengths
        token_j = self.j_per_output_token(architecture, dtype, batch=batch, accelerators=accelerators)
        joules = output * token_j + prompt * self.parameter_j * architecture.num_active_parameters()
        return Energy(joules, joules * self.low_factor, joules * self.high_factor)


def _terms(architecture: Architecture, dtype: str, batch: float, accelerators: int) -> FloatArray:
    read = architecture.num_multiplied_parameters(max(1, round(batch))) * BYTES_PER_PARAMETER[dtype]
    return np.array([read / batch, architecture.num_active_parameters(), accelerators / np.sqrt(batch)])


def fit_energy(rows: Sequence[EnergyRow]) -> EnergyModel:
    """Fit the three coefficients to relative errors, each model counting as much as any other.

    Args:
        rows: Steady states of at least three models.

    Returns:
        Coefficients without an interval; `with_interval` adds it.
    """
    terms = np.array([_terms(row.architecture, row.dtype, row.batch_size, row.num_accelerators) for row in rows])
    measured = np.array([row.j_per_output_token for row in rows])
    names = [row.architecture.name for row in rows]
    weights = np.array([1.0 / names.count(name) for name in names]) ** 0.5
    scale = terms.mean(axis=0)
    start, _ = nnls(terms / scale / measured[:, None] * weights[:, None], weights)

    def errors(logs: FloatArray) -> FloatArray:
        return np.asarray(weights * np.log(terms / scale @ np.exp(logs) / measured))

    smallest = 1e-6 * start.max()
    found = least_squares(errors, np.log(np.maximum(start, smallest)), loss="soft_l1", f_scale=_OUTLIER_LOG)
    byte_j, parameter_j, idle_j = (float(value) for value in np.exp(found.x) / scale)
    batches = [row.batch_size for row in rows]
    return EnergyModel(byte_j, parameter_j, idle_j, min_batch=min(batches), max_batch=max(batches))


def left_out_errors(rows: Sequence[EnergyRow]) -> dict[str, FloatArray]:
    """Return log(measured / predicted) of each model's rows, predicted from the other models."""
    errors = {}
    for name in sorted({row.architecture.name for row in rows}):
        model = fit_energy([row for row in rows if row.architecture.name != name])
        errors[name] = np.array(
            [
                np.log(
                    row.j_per_output_token
                    / model.j_per_output_token(
                        row.architecture, row.dtype, batch=row.batch_size, accelerators=row.num_accelerators
                    )
                )
                for row in rows
                if row.architecture.name == name
            ]
        )
    return errors


def with_interval(model: EnergyModel, errors: dict[str, FloatArray]) -> EnergyModel:
    """Return the model with a nominal 90 % interval from errors of left-out models, each model counting the same."""
    low, high = interval(errors)
    return replace(model, low_factor=low, high_factor=high)


def interval(errors: dict[str, FloatArray]) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of measured / predicted, each model counting the same."""
    values = np.concatenate(list(errors.values()))
    weights = np.concatenate([np.full(len(of_model), 1.0 / len(of_model)) for of_model in errors.values()])
    order = np.argsort(values)
    shares = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, high = np.interp([0.05, 0.95], shares, values[order])
    return float(np.exp(low)), float(np.exp(high))
