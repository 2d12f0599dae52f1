"""Commands about coefficients: import, fit, predict, show, validate."""

from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, StoreOption, emit
from helm_efficiency.store import DEFAULT_STORE


@app.command()
def predict(
    *,
    deployment: Annotated[str, typer.Option(help="Whose coefficients.")],
    prompt_tokens: Annotated[int, typer.Option(help="Tokens fed to prefill.")],
    output_tokens: Annotated[int, typer.Option(help="Tokens generated.")],
    stack: Annotated[str | None, typer.Option(help="On which stack; needed if there are several.")] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Predict the idealized runtime of a request.

    Example: helm-efficiency predict --deployment together/bloom --prompt-tokens 512 --output-tokens 16
    """
    from helm_efficiency.store import Store

    fit = Store(store, create=False).fit(deployment, stack)
    p = fit.coefficients.predict(prompt_tokens, output_tokens)
    row = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "idealized_s": float(p.seconds),
        "low_s": float(p.low_s),
        "high_s": float(p.high_s),
        "in_domain": bool(p.in_domain),
        "tier": fit.tier,
        "stack": fit.stack.name,
    }
    emit([row], format)
