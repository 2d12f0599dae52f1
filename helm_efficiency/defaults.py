"""Default paths. This module imports nothing heavy, because every command's help shows the defaults."""

from pathlib import Path

DEFAULT_STORE = Path("prod_env/efficiency.sqlite")
"""Path of the coefficient store, next to HELM's own files."""

DEFAULT_ARCHITECTURES = Path("prod_env/architectures.yaml")
"""Path of the file with the user's own architectures."""
