"""From the name of a stack to the accelerator it runs on."""

from collections.abc import Iterable

ACCELERATORS = (
    "cpu",
    "v100-16gb",
    "v100-32gb",
    "a100-40gb",
    "a100-80gb",
    "h100-80gb",
    "h200-141gb",
)
"""Keys that names of stacks in publications start with."""


def accelerator_of(stack_name: str, accelerators: Iterable[str] = ACCELERATORS) -> str:
    """The longest known key that the name starts with, or the whole name where none does.

    >>> accelerator_of("a100-80gb-megatron-fp16"), accelerator_of("a100-80gb"), accelerator_of("abacus-fp16")
    ('a100-80gb', 'a100-80gb', 'abacus-fp16')
    """
    known = [key for key in accelerators if stack_name == key or stack_name.startswith(f"{key}-")]
    return max(known, key=len, default=stack_name)
