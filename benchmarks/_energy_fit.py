"""Fit of the energy model to measured steady states, with the errors of models that were left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares, nnls

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.energy import EnergyModel, terms
from helm_efficiency.core.transfer.architecture import Architecture

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


def fit_energy(rows: Sequence[EnergyRow]) -> EnergyModel:
    """Fit the three coefficients to relative errors, each model counting as much as any other.

    Args:
        rows: Steady states of at least three models.

    Returns:
        Coefficients without an interval; `with_interval` adds it.
    """
    factors = np.array([terms(row.architecture, row.dtype, row.batch_size, row.num_accelerators) for row in rows])
    measured = np.array([row.j_per_output_token for row in rows])
    names = [row.architecture.name for row in rows]
    weights = np.array([1.0 / names.count(name) for name in names]) ** 0.5
    scale = factors.mean(axis=0)
    start, _ = nnls(factors / scale / measured[:, None] * weights[:, None], weights)

    def errors(logs: FloatArray) -> FloatArray:
        return np.asarray(weights * np.log(factors / scale @ np.exp(logs) / measured))

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
