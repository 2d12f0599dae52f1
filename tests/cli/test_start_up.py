"""The command line starts without anything heavy."""

import subprocess
import sys


def test_help_imports_nothing_heavy() -> None:
    heavy = ("helm", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "torch", "transformers")
    program = f"import sys, helm_efficiency.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
