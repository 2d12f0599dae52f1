"""Make prompts of a wanted number of tokens for a server without using its tokenizer.

A prompt is a row of four-letter English words. In nearly every tokenizer such a word with its space is one token. In
the others, all words take about the same number of tokens. So the server's own counts of two prompts give the tokens of
a word and the tokens that the server adds (a start token, a chat template). The words only approximate the wanted
number: the actual number of tokens of each prompt is read from the server's usage.
"""

import random
from dataclasses import dataclass, field

from helm_efficiency.errors import ProfilingError
from helm_efficiency.profiling.cells import CellRefusedError

_LEAST_TOKENS_PER_WORD, _MOST_TOKENS_PER_WORD = 0.5, 6.0
"""Limits of a plausible count. A word and its space are five bytes, of which no tokenizer makes more tokens than bytes,
and no tokenizer joins two random words."""

_MOST_OFF, _FEW_TOKENS = 2.0, 16
"""Factor and tokens by which a count may be off: it varies by a few per cent, and in short prompts by some tokens."""

_TEXT = """
able area army away baby back ball band bank base bath bear beat bell belt best bill bird blow blue boat body bone
book born both bowl burn bush busy call calm came camp card care case cash cast cell city club coal coat code cold
come cook cool copy core cost crew crop dark data date dawn dead deal dear debt deep desk diet disk done door dose
down draw drop drug dual dust duty each earn ease east easy edge else even ever evil exit face fact fail fair fall
farm fast fate fear feed feel feet fell felt file fill film find fine fire firm fish five flat flow food foot form
fort four free from fuel full fund gain game gate gave gear gene gift girl give glad goal gold golf gone good gray
grew grow gulf hair half hall hand hang hard harm hate have head hear heat held hell help here hero high hill hire
hold hole holy home hope host hour huge hunt hurt idea inch into iron item jack join jump jury just keep kept kick
kind king knee knew know lack lady laid lake land lane last late lead left less life lift like line link list live
load loan lock long look lord lose loss lost love luck made mail main make male many mark mass meal mean meat meet
menu mere mile milk mind mine miss mode mood moon more most move much must name near neck need news next nice nine
none nose note once only onto open oral over pace pack page paid pain pair palm park part pass past path peak pick
pink pipe plan play plot plus poem poet pole pool poor port post pull pure push race rail rain rank rare rate read
real rear rely rent rest rice rich ride ring rise risk road rock role roll roof room root rose rule safe sail sale
salt same sand save seat seed seek seem self sell send ship shop shot show shut sick side sign site size skin slip
slow snow soft soil sold sole some song soon sort soul spot star stay step stop such suit sure swim take tale talk
tall tank tape task team tell tend term test text than that them then they thin this thus till time tiny tool tour
town tree trip true tune turn twin type unit upon urge used user vary vast very view vote wage wait wake walk wall
want warm wash wave weak wear week well went were west what when whom wide wife wild will wind wine wing wire wise
wish with wood word work yard year zero zone
"""
WORDS = tuple(_TEXT.split())


@dataclass(slots=True)
class PromptMaker:
    """Maker of prompts with about a wanted number of tokens.

    Attributes:
        tokens_per_word: Number of tokens that the server counts for a word.
        added_tokens: Number of tokens that the server adds to every prompt.
        shared: True to make all prompts of one length the same, so that a prefix cache is used; otherwise all differ.
    """

    tokens_per_word: float = 1.0
    added_tokens: int = 0
    shared: bool = False
    _generator: random.Random = field(default_factory=random.Random)

    def calibrate(self, num_words: tuple[int, int], prompt_tokens: tuple[int, int]) -> None:
        """Compute the tokens of a word and the added tokens from the server's token counts of two prompts.

        Raises:
            ProfilingError: The counts are not plausible for any tokenizer.
        """
        words = num_words[1] - num_words[0]
        tokens_per_word = (prompt_tokens[1] - prompt_tokens[0]) / words
        if not _LEAST_TOKENS_PER_WORD <= tokens_per_word <= _MOST_TOKENS_PER_WORD:
            raise ProfilingError(
                f"The server counts {prompt_tokens[0]} and {prompt_tokens[1]} prompt tokens for {num_words[0]} and "
                f"{num_words[1]} words; its usage cannot be trusted."
            )
        self.tokens_per_word = tokens_per_word
        self.added_tokens = max(0, round(prompt_tokens[0] - num_words[0] * self.tokens_per_word))

    def added_note(self) -> str:
        """Return a note on the tokens that the server adds to every prompt; empty if it adds none."""
        if not self.added_tokens:
            return ""
        return f"the server adds {self.added_tokens} tokens to every prompt (start token, chat template)"

    def check(self, prompt: str, prompt_tokens: int) -> None:
        """Refuse a token count that cannot be right for a prompt.

        Raises:
            CellRefusedError: The count is less than half or more than twice the likely count of the prompt's words.
        """
        likely = self.added_tokens + prompt.count(" ") * self.tokens_per_word
        if not likely / _MOST_OFF <= prompt_tokens <= likely * _MOST_OFF + _FEW_TOKENS:
            raise CellRefusedError(
                f"the server counts {prompt_tokens} prompt tokens where about {round(likely)} were sent; "
                "it counts wrongly, or cuts prompts."
            )

    def prompt(self, prompt_tokens: int) -> str:
        """Return a prompt that the server should count as `prompt_tokens`, or as the fewest possible tokens."""
        return self.words(max(1, round((prompt_tokens - self.added_tokens) / self.tokens_per_word)))

    def words(self, count: int) -> str:
        """Return `count` words: random ones, so that every prefix is new, or always the same ones if shared."""
        generator = random.Random(0) if self.shared else self._generator
        return "".join(f" {word}" for word in generator.choices(WORDS, k=count))
