"""Find the accelerator of a stack from the stack's name."""

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
"""Keys of accelerators with which names of stacks in publications start."""


def accelerator_of(stack_name: str, accelerators: Iterable[str] = ACCELERATORS) -> str:
    """Return the longest known key that the name starts with, or the whole name if no key matches.

    >>> accelerator_of("a100-80gb-megatron-fp16"), accelerator_of("a100-80gb"), accelerator_of("abacus-fp16")
    ('a100-80gb', 'a100-80gb', 'abacus-fp16')
    """
    known = [key for key in accelerators if stack_name == key or stack_name.startswith(f"{key}-")]
    return max(known, key=len, default=stack_name)
