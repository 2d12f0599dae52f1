"""Ask a server for its engine, version, dtype and context limit, and name its stack after them.

Each engine states them at another address: vLLM and SGLang in `/v1/models` and `/version`, llama.cpp in `/props`, TGI
in `/info`. A fact that is missing, or not in the expected form, is unknown; nothing is guessed from an address.
"""

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from helm_efficiency.core.measurement import Stack
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.model_configs import read_config

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32", "f16": "fp16"}
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128", "/dev/habanalabs", "/dev/neuron0")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Known facts of a server.

    Attributes:
        model: Name of the model at the server; empty if it serves no model or several.
        engine: Name of the engine, such as `vllm`; empty if unknown.
        version: Version of the engine; empty if unknown.
        dtype: Dtype of the weights; empty if unknown.
        accelerator: `cpu` for a server on this machine if it has no accelerator; otherwise `unknown`.
        max_tokens: Largest number of tokens of a prompt and its output together; None if unknown.
    """

    model: str = ""
    engine: str = ""
    version: str = ""
    dtype: str = ""
    accelerator: str = "unknown"
    max_tokens: int | None = None

    def stack(self) -> Stack:
        """Return the stack, named after the known facts.

        >>> ServerFacts("m", "vllm", "0.32.0", "bf16", "cpu").stack().name
        'cpu-vllm-0.32.0-bf16'
        """
        accelerator = self.accelerator if self.accelerator != "unknown" else ""
        parts = (accelerator, self.engine or "unknown-server", self.version, self.dtype)
        name = "-".join(part for part in parts if part)
        return Stack(name, self.accelerator, engine=self.engine, engine_version=self.version, dtype=self.dtype)

    def with_given(self, *, accelerator: str, engine: str, dtype: str) -> "ServerFacts":
        """Return the same facts, replaced by those that the user states."""
        return replace(
            self,
            accelerator=accelerator or self.accelerator,
            engine=engine or self.engine,
            version=self.version if engine in ("", self.engine) else "",
            dtype=dtype or self.dtype,
        )


def ask_server(endpoint: Endpoint, model: str) -> ServerFacts:
    """Ask a server for the facts about itself."""
    listed = _read(endpoint, "/models", _Models, versioned=True)
    models = [entry for entry in (listed.data if listed else None) or () if model in ("", entry.id)]
    entry = models[0] if len(models) == 1 else _Model()
    facts = _OF_OWNER.get(entry.owned_by or "", _unnamed)(endpoint, entry)
    here = httpx.URL(endpoint.options.base_url).host in _THIS_MACHINE
    if here and not facts.dtype:
        facts = replace(facts, dtype=_stored_dtype(entry.root or model, facts.engine))
    return replace(facts, model=model or entry.id, accelerator="cpu" if here and is_cpu_only() else "unknown")


class _Meta(msgspec.Struct):
    n_ctx: int | None = None
    ftype: str | None = None


class _Model(msgspec.Struct):
    id: str = ""
    owned_by: str | None = None
    root: str | None = None
    max_model_len: int | None = None
    meta: _Meta | None = None


class _Models(msgspec.Struct):
    data: list[_Model] | None = None


class _Version(msgspec.Struct):
    version: str | None = None


class _Generation(msgspec.Struct):
    n_ctx: int | None = None


class _Props(msgspec.Struct):
    build_info: str | None = None
    model_ftype: str | None = None
    default_generation_settings: _Generation | None = None


class _SglangInfo(msgspec.Struct):
    version: str | None = None
    dtype: str | None = None
    context_length: int | None = None


class _TgiInfo(msgspec.Struct):
    version: str | None = None
    model_dtype: str | None = None
    max_total_tokens: int | None = None


class _OpenApi(msgspec.Struct):
    paths: dict[str, msgspec.Raw] | None = None


def _vllm(endpoint: Endpoint, entry: _Model) -> ServerFacts:
    found = _read(endpoint, "/version", _Version)
    return _facts("vllm", found.version if found else None, "", entry.max_model_len)


def _sglang(endpoint: Endpoint, entry: _Model) -> ServerFacts:
    found = _read(endpoint, "/get_server_info", _SglangInfo) or _SglangInfo()
    return _facts("sglang", found.version, found.dtype, entry.max_model_len or found.context_length)


def _llama_cpp(endpoint: Endpoint, entry: _Model) -> ServerFacts:
    props, meta = _read(endpoint, "/props", _Props) or _Props(), entry.meta or _Meta()
    settings = props.default_generation_settings or _Generation()
    build = (props.build_info or "").partition("-")[0]
    return _facts("llama.cpp", build, props.model_ftype or meta.ftype, settings.n_ctx or meta.n_ctx)


def _unnamed(endpoint: Endpoint, entry: _Model) -> ServerFacts:
    """Recognize a server by its pages if its list of models does not name the engine."""
    props = _read(endpoint, "/props", _Props)
    if props and props.build_info:
        return _llama_cpp(endpoint, entry)
    info = _read(endpoint, "/info", _TgiInfo)
    if info and info.max_total_tokens:
        return _facts("tgi", info.version, info.model_dtype, info.max_total_tokens)
    pages = _read(endpoint, "/openapi.json", _OpenApi)
    if pages and {"/load_model", "/reset", "/v1/completions"} <= set(pages.paths or ()):
        return _facts("transformers-serve", None, "", None)  # it states neither its version nor a limit
    return _facts("", None, "", entry.max_model_len)


_OF_OWNER = {"vllm": _vllm, "sglang": _sglang, "llamacpp": _llama_cpp}


def _facts(engine: str, version: str | None, dtype: str | None, max_tokens: int | None) -> ServerFacts:
    """Return facts in our spelling; a limit of 0 or less means unknown."""
    named = _word(dtype or "").lower().removeprefix("torch.").removeprefix("all-")
    limit = max_tokens if max_tokens and max_tokens > 0 else None
    return ServerFacts(
        "", engine, _word(version or ""), _DTYPES.get(named, named.replace("f32", "fp32")), max_tokens=limit
    )


def _word(text: str) -> str:
    """Return the part of a server's text that a name may hold."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")[:30]


def _read(endpoint: Endpoint, path: str, form: type[Any], *, versioned: bool = False) -> Any:
    """Return the decoded content of a page of a server; None if it is missing or has another form."""
    content = endpoint.page(path, versioned=versioned)
    try:
        return None if content is None else msgspec.json.decode(content, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _stored_dtype(root: str, engine: str) -> str:
    """Return the dtype of the weights in a folder of this machine, if the engine runs them as they are stored."""
    if not engine or not (Path(root) / "config.json").is_file():
        return ""
    try:
        config = read_config(root).values
    except (InputError, ProfilingError, OSError):
        return ""
    dtype = _DTYPES.get(str(config.get("dtype") or config.get("torch_dtype") or ""), "")
    return "" if engine == "vllm" and dtype == "fp32" else dtype  # vLLM runs fp32 weights in bf16 or fp16


def is_cpu_only() -> bool:
    """Return whether this machine has nothing but CPUs to run a model on."""
    return platform.system() == "Linux" and not any(Path(file).exists() for file in _GPU_FILES)
