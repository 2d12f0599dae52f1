"""Report what works on this machine, and what to do about the rest.

This module exists for broken installations: it imports a package only after checking that this process can import it,
and no finding raises an error.
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
    """Finding about one part of the installation.

    Attributes:
        what: Name of the part that was examined.
        status: `ok`, `missing` for an optional part that is not installed, or `broken`.
        detail: Version or state that was found.
        remedy: Instruction that repairs it; empty if nothing needs to be done.
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
    """Yield a finding for each dependency of profiling, HELM and reports, in the order in which to repair them."""
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
    """Import a module; return it and an empty text, or None and the reason.

    Binary packages built for another version of a dependency raise any of the errors caught here.
    """
    try:
        return importlib.import_module(name), ""
    except (ImportError, RuntimeError, OSError, AttributeError, ValueError) as error:
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _package(name: str, remedy: str, *, optional: bool = False) -> Finding:
    """Check whether a package can be imported."""
    module, problem = _try_import(name)
    if module is not None:
        return Finding(name, "ok", str(getattr(module, "__version__", "installed")))
    if problem.startswith("ModuleNotFoundError"):
        return Finding(name, "missing" if optional else "broken", "not installed", remedy)
    return Finding(name, "broken", problem, remedy)


def _distribution(name: str, remedy: str) -> Finding:
    """Check whether a package is installed, without importing it."""
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
    """Check a model class: transformers imports these on first use, so a broken installation shows only then."""
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
    """Check for a C++ compiler, which torch.compile calls on the CPU."""
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
