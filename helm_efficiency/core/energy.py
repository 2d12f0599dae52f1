"""Energy of a request on a loaded server, from the sizes of the model and the running batch.

    joules per output token = byte_j * weight_bytes(b) / b  +  parameter_j * active  +  idle_j * accelerators / sqrt(b)

with b requests in the batch, `weight_bytes(b)` the weights that a pass over b tokens reads, and `active` the weights
that a token goes through. The first term is the energy of memory, the second that of arithmetic, the third the rest
that an accelerator draws: measured energy falls with the batch more slowly than 1 / b. A prompt token costs the energy
of arithmetic only.
"""

from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import BYTES_PER_PARAMETER


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
        return float(terms(architecture, dtype, batch, accelerators) @ (self.byte_j, self.parameter_j, self.idle_j))

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


def terms(architecture: Architecture, dtype: str, batch: float, accelerators: int) -> FloatArray:
    """Return the bytes read, the active parameters and the idle accelerators for one output token, shape (3,)."""
    read = architecture.num_multiplied_parameters(max(1, round(batch))) * BYTES_PER_PARAMETER[dtype]
    return np.array([read / batch, architecture.num_active_parameters(), accelerators / np.sqrt(batch)])
