"""Run the cells of a notebook in this process, and keep what they show.

python tests/helpers/notebook.py docs/tour.ipynb    # in a folder with the runs; writes the outputs into the notebook
"""

import ast
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def run(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Run all code cells one after another and return the outputs of each, as a notebook holds them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    codes = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [_outputs(code, names, number) for number, code in enumerate(codes, 1)]


def _outputs(code: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    if code.startswith("!"):
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        environment = os.environ | {"PATH": path}
        done = subprocess.run(code[1:], shell=True, check=True, capture_output=True, text=True, env=environment)
        return _stream(done.stdout)
    *lines, last = ast.parse(code).body
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(lines, []), f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        else:
            value = exec(compile(ast.Module([last], []), f"cell {number}", "exec"), names)
    shown = [] if value is None or code.rstrip().endswith(";") else [_result(value, number)]
    return [*_stream(printed.getvalue()), *shown, *_figures()]


def _stream(text: str) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}] if text else []


def _result(value: Any, number: int) -> dict[str, Any]:
    data = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
    return {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}


def _figures() -> list[dict[str, Any]]:
    from matplotlib import pyplot as plt

    found = []
    for figure in map(plt.figure, plt.get_fignums()):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
        data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": [repr(figure)]}
        found.append({"output_type": "display_data", "metadata": {}, "data": data})
    plt.close("all")
    return found


def write_outputs(path: Path) -> None:
    notebook = read(path)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, outputs) in enumerate(zip(cells, run(notebook), strict=True), 1):
        cell |= {"outputs": outputs, "execution_count": number, "metadata": {}}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_outputs(Path(sys.argv[1]).absolute())
