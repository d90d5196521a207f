"""Writes labelled pairs of the generated world: `python -m moderation.demo.labels FILE FOLDER`."""

from pathlib import Path
from typing import Annotated

import typer

from moderation.demo.captions import Swap
from moderation.demo.posts import stream, write_posts


def main(
    file: Annotated[Path, typer.Argument(help="Where the JSON lines go.")],
    folder: Annotated[Path, typer.Argument(help="Where the JPEG files go.")],
    n: Annotated[int, typer.Option(help="How many pairs.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
    mismatch_share: Annotated[float, typer.Option(help="Share of wrong captions.")] = 0.5,
    swap: Annotated[
        list[Swap] | None, typer.Option(help="Ways of being wrong, in equal parts.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only scenes with untrained combinations.")
    ] = False,
) -> None:
    """Write labelled pairs: JPEG files, and a line of JSON for each."""
    posts = stream(seed, n, mismatch_share, swaps=swap or [Swap.RANDOM], held_out=held_out)
    typer.echo(f"{write_posts(posts, file, folder)} pairs in {file}")


if __name__ == "__main__":
    typer.run(main)
