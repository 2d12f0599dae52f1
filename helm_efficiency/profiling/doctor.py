"""What works on this machine, and what to do about what does not.

Nothing here imports a package before it is known to be importable in this process, and no finding raises: a broken
installation is what this module is for.
"""

import importlib
import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Of what.
        status: `ok`, `missing` for what is optional and not there, or `broken`.
        detail: What was found.
        remedy: What to do; empty if nothing.
    """

    what: str
    status: str
    detail: str
    remedy: str = ""


_MIN_PYTHON = (3, 11)
_TORCHVISION_REMEDY = (
    "pip uninstall torchvision (it comes with crfm-helm as a CUDA build that does not fit this torch; nothing here "
    "needs it, and transformers cannot import any model class beside it)"
)


def examine() -> Iterator[Finding]:
    """Everything that profiling, HELM and reports depend on, in the order in which one would repair it."""
    yield _python()
    yield _package("torch", "pip install 'helm-efficiency[profile]' (only for profiling local models)", optional=True)
    yield _torchvision()
    yield _package("transformers", "pip install 'helm-efficiency[profile]'", optional=True)
    yield _causal_models()
    yield _cuda()
    yield _compiler()
    yield _energy()
    yield _package("httpx", "pip install httpx (only for profiling endpoints)", optional=True)
    yield _distribution("crfm-helm", "pip install crfm-helm (only for running HELM here)")
    yield _chromium()


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _MIN_PYTHON:
        return Finding("python", "broken", version, "install Python 3.11 or later")
    return Finding("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _try_import(name: str) -> tuple[Any, str]:
    """The module, or why it cannot be imported; a package built for another one fails in any of these ways."""
    try:
        return importlib.import_module(name), ""
    except (ImportError, RuntimeError, OSError, AttributeError, ValueError) as error:
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _package(name: str, remedy: str, *, optional: bool = False) -> Finding:
    """Whether a package can be imported."""
    module, problem = _try_import(name)
    if module is not None:
        return Finding(name, "ok", str(getattr(module, "__version__", "installed")))
    if problem.startswith("ModuleNotFoundError"):
        return Finding(name, "missing" if optional else "broken", "not installed", remedy)
    return Finding(name, "broken", problem, remedy)


def _distribution(name: str, remedy: str) -> Finding:
    """Whether a package is installed; it is not imported."""
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", remedy)


def _torchvision() -> Finding:
    module, problem = _try_import("torchvision")
    if module is None and problem.startswith("ModuleNotFoundError"):
        return Finding("torchvision", "ok", "not installed, and not needed")
    if module is None:
        return Finding("torchvision", "broken", problem, _TORCHVISION_REMEDY)
    return Finding("torchvision", "ok", str(module.__version__))


def _causal_models() -> Finding:
    """transformers imports model classes only when they are asked for, so that is where it breaks."""
    transformers, problem = _try_import("transformers")
    if transformers is not None:
        try:
            return Finding("model classes", "ok", transformers.LlamaForCausalLM.__name__)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return Finding("model classes", "broken", problem, _TORCHVISION_REMEDY)


def _cuda() -> Finding:
    torch, problem = _try_import("torch")
    if torch is None:
        return Finding("CUDA", "broken", problem, "repair torch first")
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names = ", ".join(sorted({torch.cuda.get_device_name(index) for index in range(count)}))
        return Finding("CUDA", "ok", f"{count} × {names}, CUDA {torch.version.cuda}")
    if torch.version.cuda is None:
        detail, remedy = (
            "this torch is a CPU build",
            "nothing, without an NVIDIA accelerator; else install torch for CUDA",
        )
    else:
        detail, remedy = "torch sees no device", "check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return Finding("CUDA", "missing", f"{detail}; profiles will be of the CPU", remedy)


def _compiler() -> Finding:
    """torch.compile on the CPU calls a C++ compiler."""
    found = next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)
    if found:
        return Finding("C++ compiler", "ok", f"{found} (transformers-compiled on the CPU)")
    return Finding("C++ compiler", "missing", "none", "apt install g++ (only for transformers-compiled on the CPU)")


def _energy() -> Finding:
    nvml, problem = _try_import("pynvml")
    if nvml is None:
        remedy = "pip install nvidia-ml-py (only where there is an NVIDIA accelerator)"
        detail = "nvidia-ml-py is not installed" if problem.startswith("ModuleNotFoundError") else problem
        return Finding("energy", "missing", detail, remedy)
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return Finding("energy", "missing", f"NVML: {error}", "nothing, without an NVIDIA accelerator")
    return Finding("energy", "ok", f"NVML reads {count} device(s)")


def _chromium() -> Finding:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found and shutil.which("chromedriver"):
        return Finding("browser", "ok", f"{found} with chromedriver")
    return Finding(
        "browser", "missing", found or "none", "apt install chromium chromium-driver (only for browser tests)"
    )
