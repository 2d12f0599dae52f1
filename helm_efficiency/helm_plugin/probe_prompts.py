"""Make prompts of an exact number of tokens, for any tokenizer that can count."""

import random
from collections.abc import Callable

from helm_efficiency.errors import InputError
from helm_efficiency.profiling.endpoint.prompts import WORDS

CountTokens = Callable[[str], int]
"""Function that returns the number of tokens of a text, special tokens excluded."""

REQUEST = "\nNow write a long story that never ends."
"""End of prompts that are long enough for it, so that chat models do not stop early."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PIECES = (" a", " the", ".", "x", "!", ",", "0", "?")
_MAX_COUNTS = 200


def exact_prompt(num_tokens: int, count_tokens: CountTokens, rng: random.Random) -> str:
    """Return a text of random words that is exactly `num_tokens` tokens long.

    The first words differ from prompt to prompt, so that no prefix cache can help.

    Raises:
        InputError: No such text was found: the tokenizer adds tokens of its own, or splits every word into many.
    """
    ending = REQUEST if num_tokens >= 2 * count_tokens(REQUEST) else ""
    num_words = num_tokens
    for _ in range(_MAX_COUNTS):
        words = rng.choices(WORDS, k=num_words)
        excess = count_tokens(" ".join(words) + ending) - num_tokens
        if excess == 0:
            return " ".join(words) + ending
        if excess < 0 and (text := _filled(" ".join(words), ending, num_tokens, count_tokens=count_tokens)):
            return text
        step = round(num_words * excess / (num_tokens + excess))
        num_words = max(num_words - step - (excess > 0 and step == 0), 0)
        if num_words == 0:
            break
    for letter in rng.sample(_LETTERS, len(_LETTERS)):
        if text := _filled(letter, "", num_tokens, count_tokens=count_tokens):
            return text
    raise InputError(
        f"No prompt of exactly {num_tokens} tokens was found for this tokenizer; a single letter has "
        f"{count_tokens('a')}. Ask for longer prompts."
    )


def _filled(text: str, ending: str, num_tokens: int, *, count_tokens: CountTokens) -> str | None:
    """Return the text with small pieces appended until it is long enough; None if they overshoot or do not add up."""
    missing = num_tokens - count_tokens(text + ending)
    if missing > 8:
        return None
    for piece in _PIECES if missing > 0 else ():
        longer = text
        for _ in range(missing):
            longer += piece
        if count_tokens(longer + ending) == num_tokens:
            return longer + ending
    return text + ending if missing == 0 else None
