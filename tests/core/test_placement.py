"""How many accelerators a model needs: each term by hand, the rule's shape, and the paper's models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import Placement, Serving, place_model
from helm_efficiency.errors import InputError

TINY = Architecture("tiny", 2, 8, 4, 2, 2, 16, 100)  # 2 layers: attention 8*8 + 8*2*4 + 8*8 = 192, ffn 2*8*16 = 256


def gpt(name: str, hidden: int, layers: int, heads: int, vocab: int, ffn: int = 0) -> Architecture:
    return Architecture(
        name, layers, hidden, heads, heads, hidden // heads, ffn or 4 * hidden, vocab, tied_embeddings=True
    )


def test_every_term_by_hand() -> None:
    # weights: 2 * (192 + 256) + 2 * 100 * 8 = 2496, in fp32 9984 bytes, halved on two accelerators: 4992
    # cache: 3 sequences * 10 tokens * 2 layers * 2 heads * (2 + 2) * 2 bytes = 960, a head on each: 480
    # workspace: a tenth of 8000
    found = place_model(TINY, Serving("fp32", context_tokens=10, batch_size=3), memory_bytes=8000.0)
    assert found == Placement(
        tensor_parallel=2,
        pipeline_parallel=1,
        weights_bytes=4992.0,
        kv_cache_bytes=480.0,
        workspace_bytes=800.0,
        memory_bytes=8000.0,
    )
    assert found.num_accelerators == 2
    assert found.margin_bytes == 8000 - 4992 - 480 - 800


def test_a_head_is_never_split() -> None:
    # weights 9984 bytes; one of the 2 heads: 2048 tokens * 2 layers * (2 + 2) * 2 bytes = 32768, on 4 accelerators too
    two, four = (place_model(TINY, Serving("fp32"), memory_bytes=memory) for memory in (42e3, 39.5e3))
    assert (two.num_accelerators, four.num_accelerators) == (2, 4)
    assert two.kv_cache_bytes == four.kv_cache_bytes == 32768


def test_compressed_cache_is_kept_whole_within_a_node() -> None:
    mla = Architecture("mla", 4, 64, 8, 8, 8, 128, 1000, kv_lora_rank=16, rope_head_size=4)
    found = place_model(mla, Serving(context_tokens=1000), memory_bytes=300e3)
    assert found.tensor_parallel > 1
    assert found.kv_cache_bytes == mla.kv_bytes(1000) == 4 * 1000 * (16 + 4) * 2


def test_a_window_bounds_the_cache() -> None:
    windowed = Architecture("windowed", 2, 8, 4, 2, 2, 16, 100, sliding_window=100)
    long, longer = (place_model(windowed, Serving(context_tokens=n), memory_bytes=1e6) for n in (100, 100_000))
    assert long.kv_cache_bytes == longer.kv_cache_bytes


# The counts that the paper used (A100, V100) beside those of the rule on 80 and 32 GB cards: the same but for the 52B
# model on A100 (104 GB of weights fit on two) and the 530B model (which the paper billed as three equal stages).
PAPER_MODELS = [
    (gpt("davinci", 12288, 96, 96, 51200), 8, 16),
    (gpt("j1-large", 4096, 32, 32, 50000), 1, 1),
    (gpt("j1-grande", 5120, 50, 40, 262144), 1, 2),
    (gpt("j1-jumbo", 13824, 76, 96, 51200), 8, 16),
    (gpt("anthropic", 8192, 64, 64, 51200), 2, 4),
    (gpt("tnlg", 20480, 105, 128, 51200), 16, 40),
    (gpt("gpt-j", 4096, 28, 16, 50400), 1, 1),
    (gpt("yalm", 10240, 80, 128, 128000, ffn=27312), 4, 8),
    (gpt("bloom", 14336, 70, 112, 250880), 8, 16),
]


@pytest.mark.parametrize(("architecture", "a100", "v100"), PAPER_MODELS, ids=lambda item: getattr(item, "name", ""))
def test_the_papers_models(architecture: Architecture, a100: int, v100: int) -> None:
    fp16 = Serving("fp16")
    assert place_model(architecture, fp16, memory_bytes=80e9).num_accelerators == a100
    assert place_model(architecture, fp16, memory_bytes=32e9).num_accelerators == v100


@given(
    memory=st.floats(3e3, 1e7),
    node_size=st.sampled_from([1, 2, 4, 8, 16]),
    context=st.integers(1, 500),
    batch=st.integers(1, 4),
)
def test_the_fewest_that_fit(memory: float, node_size: int, context: int, batch: int) -> None:
    deep = Architecture("deep", 40, 8, 4, 2, 2, 16, 100)
    serving = Serving("bf16", context, batch)
    try:
        found = place_model(deep, serving, memory_bytes=memory, node_size=node_size)
    except InputError:
        return
    assert found.margin_bytes >= 0
    inside = found.pipeline_parallel == 1
    count = found.num_accelerators
    assert (inside and count <= node_size and count & (count - 1) == 0) or count % node_size == 0
    assert place_model(deep, serving, memory_bytes=2 * memory, node_size=node_size).num_accelerators <= count
    less = Serving("fp8", context, batch, kv_bytes_per_element=1)
    assert place_model(deep, less, memory_bytes=memory, node_size=node_size).num_accelerators <= count


def test_fits_on_no_node() -> None:
    with pytest.raises(
        InputError, match=r"tiny in bf16 with 1 × 2048 tokens of context does not fit on 16 acc.* 1e-06"
    ):
        place_model(TINY, Serving(), memory_bytes=1000.0)


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ({"dtype": "fp12"}, "Unknown dtype 'fp12'. Known: fp32"),
        ({"context_tokens": 0}, "context_tokens 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"kv_bytes_per_element": 0.0}, "kv_bytes_per_element 0.0"),
    ],
)
def test_bad_serving(serving: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Serving(**serving)  # type: ignore[arg-type]
