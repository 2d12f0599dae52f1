"""Read the latency table of Splitwise (Patel et al., ISCA 2024; repository Mutinifni/splitwise-sim).

Each row is one repetition, in milliseconds for the whole batch. Two cautions about the table: `e2e_time` stops early
for outputs of 512 tokens and more, so that seconds are put together from `prompt_time` and `token_time`; and the rows
of `h100-80gb-pcap` are not measured, but the H100's rows times a constant, so they are left out.
"""

from pathlib import Path

from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError
from helm_efficiency.formats.csv_measurements import read_rows

COLUMNS = (
    *("model", "hardware", "prompt_size", "batch_size", "token_size", "peak_power", "average_power", "prompt_time"),
    *("token_time", "e2e_time", "tensor_parallel"),
)
_DERIVED_HARDWARE = ("h100-80gb-pcap",)


def read_splitwise_csv(path: Path) -> list[Profile]:
    """Read the table.

    Returns:
        One profile for each model, hardware and tensor-parallel degree, named `splitwise/<model>` and
        `<hardware>-splitwise-tp<degree>`; repetitions are kept separate, exact duplicates are kept once.

    Raises:
        FileFormatError: A column or a value is wrong; the message names the line.
        InputError: The table holds only derived rows.
    """
    groups: dict[tuple[str, str, str], list[Measurement]] = {}
    seen: set[tuple[str, ...]] = set()
    for number, row in read_rows(path, required=COLUMNS, known=COLUMNS):
        values = tuple(row.values())
        if row["hardware"] in _DERIVED_HARDWARE or values in seen:
            continue
        seen.add(values)
        try:
            prompt_s, token_s = float(row["prompt_time"]) / 1e3, float(row["token_time"]) / 1e3
            outputs = int(row["token_size"])
            measurement = Measurement(
                prompt_tokens=int(row["prompt_size"]),
                output_tokens=outputs,
                seconds=prompt_s + (outputs - 1) * token_s,
                batch_size=int(row["batch_size"]),
                ttft_s=prompt_s,
            )
            int(row["tensor_parallel"])
        except (ValueError, OverflowError, EfficiencyError) as error:
            raise FileFormatError(f"{path}, line {number}: {error}") from error
        groups.setdefault((row["model"], row["hardware"], row["tensor_parallel"]), []).append(measurement)
    if not groups:
        raise InputError(f"{path}: no measured rows.")
    try:
        return [_profile(path, key, measurements) for key, measurements in groups.items()]
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _profile(path: Path, key: tuple[str, str, str], measurements: list[Measurement]) -> Profile:
    model, hardware, tensor_parallel = key
    name = f"{hardware}-splitwise-tp{tensor_parallel}"
    stack = Stack(
        name=name,
        accelerator=accelerator_of(name),
        num_accelerators=int(tensor_parallel),
        engine="splitwise",
        tensor_parallel=int(tensor_parallel),
    )
    return Profile(f"splitwise/{model}", stack, tuple(measurements), source=f"Splitwise table {path.name}")
