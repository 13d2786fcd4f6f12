"""The commands that sign and verify. No logic in here; each imports what it needs when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hil.errors import ExitStatus

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
PassphraseOption = Annotated[
    str | None,
    typer.Option(metavar="VAR", help="Environment variable that holds the key's passphrase."),
]


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes.")],
    passphrase_env: PassphraseOption = None,
) -> None:
    """Make an Ed25519 key to sign with: FILE, for its owner alone, and FILE.pub for everybody."""
    from hil.evidence import passphrase_from
    from hil.record.signatures import fingerprint, load_public_key, make_key

    public = make_key(file, passphrase_from(passphrase_env))
    typer.echo(f"private key: {file}; keep it to yourself")
    typer.echo(f"public key: {public}, fingerprint {fingerprint(load_public_key(public))}")


def sign(
    run: RunArgument,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key.")],
    role: Annotated[str, typer.Option(metavar="TEXT", help="As what you vouch for it.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="Who you are.")] = "",
    passphrase_env: PassphraseOption = None,
    timestamp: Annotated[
        str | None, typer.Option(metavar="URL", help="Time-stamping authority to ask (RFC 3161).")
    ] = None,
    timestamp_request: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a request for one, to take along.")
    ] = None,
) -> None:
    """Sign a run folder that verifies; several people may sign one folder, each in a role."""
    from hil.evidence import passphrase_from, sign_run

    passphrase = passphrase_from(passphrase_env)
    for line in sign_run(run, key, role, name, passphrase, timestamp, timestamp_request):
        typer.echo(line)


def timestamp(
    run: RunArgument,
    token: Annotated[Path, typer.Argument(metavar="TOKEN", help="What the authority answered.")],
) -> None:
    """Attach a time stamp that was asked for elsewhere to the signature that it is of."""
    from hil.evidence import timestamp_run

    typer.echo(timestamp_run(run, token))


def verify(
    run: RunArgument,
    trusted: Annotated[
        list[Path] | None,
        typer.Option(metavar="PUBKEY", help="A public key, one of which must have signed."),
    ] = None,
    tsa_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Whom to trust for time stamps, in PEM.")
    ] = None,
) -> None:
    """Check every file, signature and time stamp of a run folder, and derive its result anew."""
    from hil.evidence import all_hold, verify_run

    checks = verify_run(run, trusted or (), tsa_ca)
    for check in checks:
        typer.echo(check.line())
    if not all_hold(checks):
        raise typer.Exit(ExitStatus.FAIL)
