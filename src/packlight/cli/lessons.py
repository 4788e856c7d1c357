"""``packlight lessons``: what practitioners know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import Json
from packlight.cli.screen import print_json, say, screen

if TYPE_CHECKING:
    from rich.text import Text

    from packlight.records import Advice


def lessons(
    word: Annotated[
        str, typer.Argument(metavar="WORD", help="A topic, a cause, or a word of the text.")
    ] = "",
    *,
    as_json: Json = False,
) -> int:
    """Tell what practitioners know about making models small, with who says so.

    The same lessons stand beside plans, results and findings whose numbers call for them.

    \b
    Examples:
      packlight lessons
      packlight lessons calibration
    """
    from packlight.advice import lessons as every
    from packlight.advice import lessons_on

    found = lessons_on(word) if word else every()
    if as_json:
        from packlight import to_json

        print_json([to_json(one) for one in found])
    else:
        from rich.text import Text

        parts = [
            Text.assemble((one.id, "bold"), f"\n{one.text}\n", (one.source, "dim")) for one in found
        ]
        say(screen(), *parts)
    return DONE


def advice_parts(found: Sequence[Advice]) -> Iterator[Text]:
    """Lessons beside a result, each with the number that called for it."""
    from rich.text import Text

    from packlight.presentation.contrasts import called_for

    for one in found:
        told = f"{one.text} Here {called_for(one)}. "
        yield Text.assemble(("Lesson: ", "bold"), told, (f"Source: {one.source}", "dim"))
