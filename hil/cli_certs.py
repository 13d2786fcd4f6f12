"""The command that makes certificates. No logic in here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where they are written.")],
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME_OR_IP", help="How chargers reach this computer; repeatable."),
    ] = None,
    charger: Annotated[
        list[str] | None,
        typer.Option(metavar="IDENTITY", help="A charge point identity; repeatable."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they are valid.")] = 730,
    elliptic: Annotated[
        bool, typer.Option("--ec/--rsa", help="Kind of keys; old chargers need RSA.")
    ] = False,
) -> None:
    """Make a lab authority, the bench's certificate, and certificate and password per charger."""
    from hil.certs import Wanted, make_certificates

    for line in make_certificates(Wanted(folder, host or (), charger or (), days, elliptic)):
        typer.echo(line)
