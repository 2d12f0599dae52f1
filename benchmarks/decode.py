"""The least that re-scoring could cost: read and decode every file of an archive, on several processes; nothing else.

python benchmarks/decode.py ARCHIVE --jobs 2
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from helm_efficiency.adapters.helm import format as helm_format


def decode(folder: Path) -> None:
    """A bare read and typed decode of one run."""
    helm_format.SCENARIO_STATE.decode((folder / "scenario_state.json").read_bytes())
    helm_format.PER_INSTANCE_STATS.decode((folder / "per_instance_stats.json").read_bytes())
    helm_format.RUN_SPEC.decode((folder / "run_spec.json").read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.archive.rglob("run_spec.json"))
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(decode, folders, chunksize=4):
            pass


if __name__ == "__main__":
    main()
