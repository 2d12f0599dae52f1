"""A real causal LM with random weights, small enough to time in milliseconds."""

from pathlib import Path

import pytest
import torch
import transformers


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a two-layer Llama, as transformers saves it."""
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    # Greedy decoding of this model emits the end-of-sequence token at once: exact lengths must be forced against it.
    greedy = model.generate(torch.ones(1, 8, dtype=torch.long), max_new_tokens=1, do_sample=False)
    model.generation_config.eos_token_id = int(greedy[0, -1])
    path = tmp_path_factory.mktemp("models") / "tiny-llama"
    model.save_pretrained(path)
    return path
