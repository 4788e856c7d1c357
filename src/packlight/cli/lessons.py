"""``packlight lessons``: knowledge of practitioners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE
from packlight.cli.options import Json
from packlight.cli.screen import print_json, say, screen
from packlight.cli.tables import stacked, styled, styled_parts

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
    """List lessons of practitioners on small models, with sources.

    Plans, results and findings show a lesson where their numbers call for it.

    \b
    Examples:
      packlight lessons
      packlight lessons calibration
    """
    from packlight.advice import lessons as all_lessons
    from packlight.advice import lessons_on

    selected = all_lessons()
    if word:
        selected = lessons_on(word)
    if as_json:
        from packlight import to_json

        print_json([to_json(lesson) for lesson in selected])
    else:
        parts = [
            stacked(styled(lesson.id, "bold"), lesson.text, styled(lesson.source, "dim"))
            for lesson in selected
        ]
        say(screen(), *parts)
    return DONE


def advice_parts(advice: Sequence[Advice]) -> Iterator[Text]:
    """Lessons for a result, each with the number that called for it."""

    from packlight.presentation.contrasts import called_for

    for lesson in advice:
        text = f"{lesson.text} Here {called_for(lesson)}. "
        yield styled_parts(("Lesson: ", "bold"), text, (f"Source: {lesson.source}", "dim"))
