"""Write a Llama as a GGUF file for llama.cpp; runs in the environment of llama.cpp, which has the `gguf` package.

python make_gguf.py FOLDER FILE f16|q8_0        # FOLDER: config.json, tokenizer.json, weights.npz
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}


def main(folder: Path, file: Path, kind: str) -> None:
    """Write the file."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "llama")
    write_sizes(writer, config, kind)
    write_tokenizer(writer, folder)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for name, weights in np.load(folder / "weights.npz").items():
        outer = OUTER.get(name)
        _, _, layer, *rest = [*name.split("."), "", ""]
        inner = "" if outer else NAMES[".".join(part for part in rest if part and part != "weight")]
        values = weights.astype(np.float32)
        if inner in heads:
            values = interleaved(values, heads[inner])
        target = f"{outer or f'blk.{layer}.{inner}'}.weight"
        if values.ndim == 1:
            writer.add_tensor(target, values)
        elif kind == "q8_0":
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(target, gguf.quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(target, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weights: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows of each head in the order in which llama.cpp turns them: pairs, where transformers has halves."""
    size = weights.shape[0] // num_heads // 2
    return weights.reshape(num_heads, 2, size, -1).swapaxes(1, 2).reshape(weights.shape)


def write_sizes(writer: gguf.GGUFWriter, config: dict, kind: str) -> None:
    """The sizes of the model."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    types = gguf.LlamaFileType
    writer.add_file_type(types.MOSTLY_Q8_0 if kind == "q8_0" else types.MOSTLY_F16)


def write_tokenizer(writer: gguf.GGUFWriter, folder: Path) -> None:
    """A byte-level BPE tokenizer, cut into words as GPT-2 does."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in special else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary["<s>"])
    writer.add_eos_token_id(vocabulary["</s>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
