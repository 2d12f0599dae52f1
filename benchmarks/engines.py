"""Try vLLM, llama.cpp and transformers serve for real.

python benchmarks/engines.py check              # what `make engines-check` calls: profile each, run HELM against it
python benchmarks/engines.py stacks             # models, engines and loads compared
python benchmarks/engines.py serving            # busy servers predicted from profiles at two loads
python benchmarks/engines.py denoise            # HELM runs alone and beside other clients, against the engine's times

Results are kept in benchmarks/results/engines, with versions and how busy the machine was.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import engine_checks
import engine_loads
import engine_serving
from _harness import RESULTS, ROOT, machine, versions


def main() -> None:
    """Run what is asked for and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "stacks", "denoise", "serving"))
    parser.add_argument("--engine", action="append", help="one of those; may be repeated")
    parser.add_argument("--small", action="store_true", help="fewer and smaller: whether it works")
    asked = parser.parse_args()
    steps: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "check": lambda: map(engine_checks.check, asked.engine or engine_checks.ENGINES),
        "stacks": lambda: engine_loads.stacks(asked.engine, small=asked.small),
        "serving": lambda: engine_serving.loads(asked.engine, small=asked.small),
        "denoise": lambda: engine_loads.denoise_pairs(asked.engine, small=asked.small),
    }
    facts, results = machine(), []
    file = RESULTS / "engines" / f"{asked.what}.json"
    file.parent.mkdir(exist_ok=True)
    for result in steps[asked.what]():
        results.append(result)
        content = {"machine": facts, "versions": versions(), "small": asked.small, "results": results}
        text = json.dumps(content, indent=1).replace(str(ROOT) + "/", "")
        file.write_text(text + "\n")
        print(summary(result), flush=True)


def summary(result: dict[str, Any]) -> str:
    """A line or a few on what came of one engine."""
    shown = {name: value for name, value in result.items() if name not in ("chosen", "cells", "fits")}
    return json.dumps(shown)


if __name__ == "__main__":
    main()
