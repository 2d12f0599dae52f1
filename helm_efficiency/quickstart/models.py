"""Make and train three small Llama models and a tokenizer.

They differ in size and hence in speed, and in how much they learn in the same number of steps and hence in accuracy: a
small world in which the trade-off between the two is real.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from helm_efficiency.errors import OutputError
from helm_efficiency.quickstart.dyck_corpus import Example

END_OF_TEXT = "<|endoftext|>"
MAX_TOKENS = 512
_RECIPE_FILE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Size and training of one model.

    Attributes:
        name: Name of its folder, and so of its HELM deployment `huggingface/NAME`.
        num_layers: Number of transformer blocks.
        hidden_size: Width of the residual stream.
        num_heads: Number of query heads; there are half as many key-value heads.
        num_steps: Number of AdamW steps.
        learning_rate: Peak learning rate, reached after a short warm-up and then decayed linearly.
        batch_size: Number of examples per step.
        seed: Seed of weights and batches.
    """

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_steps: int
    learning_rate: float
    batch_size: int = 32
    seed: int = 0


RECIPES = (
    Recipe("quickstart-small", num_layers=1, hidden_size=48, num_heads=2, num_steps=250, learning_rate=5e-3),
    Recipe("quickstart-medium", num_layers=2, hidden_size=64, num_heads=2, num_steps=350, learning_rate=4e-3),
    Recipe("quickstart-large", num_layers=3, hidden_size=96, num_heads=4, num_steps=280, learning_rate=3e-3),
)


def make_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on `texts`; it reproduces any text exactly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=MAX_TOKENS,
    )


def make_model(
    recipe: Recipe, examples: Sequence[Example], folder: Path, *, on_step: Callable[[], object] = lambda: None
) -> Path:
    """Train one model and save it with its tokenizer, replacing an earlier one.

    Returns:
        The complete folder of the model.

    Raises:
        OutputError: The model cannot be written, for example because the disk is full.
    """
    path = folder / recipe.name
    tokenizer = make_tokenizer([example.prompt + example.answer for example in examples])
    model = _train(_untrained(recipe, tokenizer), tokenizer, examples, recipe=recipe, on_step=on_step)
    logging.disable_progress_bar()
    unfinished = path.with_name(path.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        (unfinished / _RECIPE_FILE).write_text(_stamp(recipe))
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OutputError(f"{path} could not be written: {error}.") from error
    return path


def is_made(recipe: Recipe, folder: Path) -> bool:
    """Return whether `make_model` has made this model before, by the same recipe."""
    stamp = folder / recipe.name / _RECIPE_FILE
    return stamp.is_file() and stamp.read_text() == _stamp(recipe)


def _stamp(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), indent=2)


def _untrained(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    end = tokenizer.eos_token_id
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.hidden_size * 5 // 2,
            num_hidden_layers=recipe.num_layers,
            num_attention_heads=recipe.num_heads,
            num_key_value_heads=recipe.num_heads // 2,
            max_position_embeddings=MAX_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def _train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    *,
    recipe: Recipe,
    on_step: Callable[[], object],
) -> LlamaForCausalLM:
    """Train the model on the answers: the loss covers the answer and the end of text, not the prompt."""
    end = [tokenizer.eos_token_id]
    pairs = [(tokenizer.encode(example.prompt), tokenizer.encode(example.answer) + end) for example in examples]
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98))
    warm_up_steps = 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm_up_steps) * (1.0 - 0.9 * step / recipe.num_steps)
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    model.train()
    for _ in range(recipe.num_steps):
        picked = torch.randint(len(pairs), (recipe.batch_size,), generator=generator).tolist()
        inputs, labels = _batch([pairs[i] for i in picked], pad=end[0])
        optimizer.zero_grad()
        model(input_ids=inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_step()
    return model.eval()


def _batch(pairs: Sequence[tuple[list[int], list[int]]], *, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels, both (examples, longest); the loss skips prompts and padding, labelled -100."""
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    inputs = torch.full((len(pairs), longest), pad)
    labels = torch.full((len(pairs), longest), -100)
    for row, (prompt, answer) in enumerate(pairs):
        inputs[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    return inputs, labels
