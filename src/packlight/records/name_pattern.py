"""Regular expressions on names of strangers, matched in time that grows with the name's length.

Python's own matcher tries ways one by one, and takes for ever on ``(a+)+$`` and a name of forty
letters. Here all ways are followed at once (Thompson, CACM 11, 1968), so back references and
look-around, which do not allow that, are refused, but for ``^(?!...)`` at the beginning, which says
what a name must not begin with. Python's parser reads the expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

from packlight.errors import RecipeError

PARSER: Any = import_module("re._parser")  # its public name, sre_parse, is deprecated
MOST_CHARACTERS = 2000
"""Characters of an expression; Python's parser recurses into its groups."""

DEEPEST = 40
"""Open brackets at one point of an expression."""

MOST_STATES = 1000
"""States of an expression with its counts written out."""

MOST_REMEMBERED = 20_000
"""Steps that are remembered; then all are forgotten."""


def is_word(character: str) -> bool:
    """Test whether a character is one of words."""
    return character.isalnum() or character == "_"


Test = Callable[[str], bool]
Context = tuple[bool, bool, bool]
"""Whether a place in a name is its start, its end, and a boundary of a word."""

HOLDS: dict[str, Callable[[Context], bool]] = {
    "AT_BEGINNING": lambda context: context[0],
    "AT_BEGINNING_STRING": lambda context: context[0],
    "AT_END": lambda context: context[1],
    "AT_END_STRING": lambda context: context[1],
    "AT_BOUNDARY": lambda context: context[2],
    "AT_NON_BOUNDARY": lambda context: not context[2],
}
CATEGORIES: dict[str, Test] = {
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_NOT_DIGIT": lambda character: not character.isdecimal(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda character: not character.isspace(),
    "CATEGORY_WORD": is_word,
    "CATEGORY_NOT_WORD": lambda character: not is_word(character),
}
REPEATS = ("MAX_REPEAT", "MIN_REPEAT")


@dataclass(slots=True)
class State:
    """One place in an expression.

    Attributes:
        next: states that follow.
        test: of the character that is read to get there; None where none is read.
        holds: of the place in the name, to get there; None where any will do.
    """

    next: list[int] = field(default_factory=list)
    test: Test | None = None
    holds: Callable[[Context], bool] | None = None


class NamePattern:
    """A regular expression, ready to match.

    Args:
        pattern: without back references and look-around, but for ``^(?!...)`` at its beginning.

    Raises:
        RecipeError: it is no regular expression, or too long, or cannot be matched in time.
    """

    def __init__(self, pattern: str) -> None:
        tree = _parsed(pattern)
        ignores_case = bool(tree.state.flags & re.IGNORECASE)
        items = list(tree)
        self._excluded: list[Automaton] = []
        if items and str(items[0][1]).startswith("AT_BEGINNING"):
            while len(items) > 1 and str(items[1][0]) == "ASSERT_NOT" and items[1][1][0] > 0:
                excluded = items.pop(1)[1][1]
                self._excluded.append(Automaton(pattern, excluded, ignores_case))
        self._wanted = Automaton(pattern, items, ignores_case)

    def search(self, name: str) -> bool:
        """Test whether the expression matches a part of a name."""
        return not self._is_excluded(name) and self._wanted.matches(name, anywhere=True)

    def fullmatch(self, name: str) -> bool:
        """Test whether the expression matches a whole name."""
        return not self._is_excluded(name) and self._wanted.matches(name, to_end=True)

    def _is_excluded(self, name: str) -> bool:
        return any(automaton.matches(name) for automaton in self._excluded)


class Automaton:
    """The states of an expression.

    Args:
        pattern: the expression, for messages.
        items: its parts as Python's parser gives them.
        ignores_case: whether letters match in both cases.
    """

    def __init__(self, pattern: str, items: Any, ignores_case: bool) -> None:
        self.pattern = pattern
        self._ignores_case = ignores_case
        self._states: list[State] = []
        self._accept = self._add(State())
        self._start = self._sequence(items, self._accept)
        self._steps: dict[object, tuple[bool, frozenset[int]]] = {}

    def matches(self, name: str, *, anywhere: bool = False, to_end: bool = False) -> bool:
        """Test for a match.

        Args:
            name: to match.
            anywhere: whether it may begin anywhere, not only at the name's start.
            to_end: whether it must reach the name's end.
        """
        current = frozenset([self._start])
        for index in range(len(name) + 1):
            character = name[index : index + 1]
            accepted, following = self._step(current, _context(name, index), character)
            if accepted and not (to_end and character):
                return True
            current = following | {self._start} if anywhere else following
        return False

    def _step(
        self, states: frozenset[int], context: Context, character: str
    ) -> tuple[bool, frozenset[int]]:
        """Test for a match that ends here, and find the states behind a character."""
        key = (states, context, character)
        if key not in self._steps:
            if len(self._steps) > MOST_REMEMBERED:
                self._steps.clear()
            reached = self._reached(states, context)
            following = (
                follower
                for index in reached
                if (test := self._states[index].test) is not None and character and test(character)
                for follower in self._states[index].next
            )
            self._steps[key] = self._accept in reached, frozenset(following)
        return self._steps[key]

    def _reached(self, states: frozenset[int], context: Context) -> set[int]:
        """States that are reached without reading a character."""
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            index = waiting.pop()
            state = self._states[index]
            if index in reached or (state.holds is not None and not state.holds(context)):
                continue
            reached.add(index)
            if state.test is None:
                waiting += state.next
        return reached

    def _add(self, state: State) -> int:
        if len(self._states) >= MOST_STATES:
            raise RecipeError(
                f"'{self.pattern:.60}' repeats too much: written out it has more than "
                f"{MOST_STATES:,} parts"
            )
        self._states.append(state)
        return len(self._states) - 1

    def _sequence(self, items: Sequence[tuple[Any, Any]], behind: int) -> int:
        for operator, argument in reversed(list(items)):
            behind = self._part(str(operator), argument, behind)
        return behind

    def _part(self, operator: str, argument: Any, behind: int) -> int:
        """The state where a part of the expression begins, given the one behind it."""
        if operator == "SUBPATTERN" and not argument[1] and not argument[2]:
            return self._sequence(argument[3], behind)
        if operator == "BRANCH":
            return self._add(State([self._sequence(branch, behind) for branch in argument[1]]))
        if operator in REPEATS:
            return self._repeat(*argument, behind=behind)
        if operator == "AT" and str(argument) in HOLDS:
            return self._add(State([behind], holds=HOLDS[str(argument)]))
        test = self._test(operator, argument)
        if test is None:
            raise RecipeError(
                f"'{self.pattern}' cannot be matched in bounded time: it has a look-around, a "
                "back reference or flags for a part. Write it without"
            )
        return self._add(State([behind], test))

    def _repeat(self, least: int, most: int, part: Any, *, behind: int) -> int:
        if most == PARSER.MAXREPEAT:
            loop = self._add(State([behind]))
            self._states[loop].next.append(self._sequence(part, loop))
            behind = loop
        else:
            end = behind
            for _ in range(most - least):
                behind = self._add(State([end, self._sequence(part, behind)]))
        for _ in range(least):
            behind = self._sequence(part, behind)
        return behind

    def _test(self, operator: str, argument: Any) -> Test | None:
        test = character_test(operator, argument)
        if test is None or not self._ignores_case:
            return test
        return lambda character: test(character.lower()) or test(character.upper())


def _parsed(pattern: str) -> Any:
    """The expression as Python's parser reads it."""
    if len(pattern) > MOST_CHARACTERS or _depth(pattern) > DEEPEST:
        raise RecipeError(
            f"'{pattern:.40}...' is too long for a regular expression of names: it has "
            f"{len(pattern):,} characters; there may be at most {MOST_CHARACTERS} characters and "
            f"{DEEPEST} brackets in each other"
        )
    try:
        return PARSER.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise RecipeError(f"'{pattern}' is no regular expression: {error}") from error


def _depth(pattern: str) -> int:
    deepest = 0
    depth = 0
    for character in pattern:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def character_test(operator: str, argument: Any) -> Test | None:
    """Test of one character; None for what tests none."""
    make = TESTS.get(operator)
    return None if make is None else make(argument)


def _range_test(ends: tuple[int, int]) -> Test:
    low, high = map(chr, ends)
    return lambda character: low <= character <= high


def _class_test(items: Sequence[tuple[Any, Any]]) -> Test:
    tests = list(_tests_of(items))
    negated = str(items[0][0]) == "NEGATE"
    return lambda character: any(test(character) for test in tests) is not negated


def _tests_of(items: Sequence[tuple[Any, Any]]) -> Iterator[Test]:
    for operator, argument in items:
        test = character_test(str(operator), argument)
        if test is not None:
            yield test


TESTS: dict[str, Callable[[Any], Test]] = {
    "ANY": lambda _: lambda character: character != "\n",
    "LITERAL": lambda code: chr(code).__eq__,
    "NOT_LITERAL": lambda code: chr(code).__ne__,
    "RANGE": _range_test,
    "CATEGORY": lambda name: CATEGORIES[str(name)],
    "IN": _class_test,
}
"""Tests of one character by the operator of Python's parser."""


def _context(name: str, index: int) -> Context:
    before = index > 0 and is_word(name[index - 1])
    after = index < len(name) and is_word(name[index])
    return index == 0, index == len(name), before is not after


@lru_cache(maxsize=64)
def name_pattern(pattern: str) -> NamePattern:
    """The pattern of a regular expression; the last ones are kept."""
    return NamePattern(pattern)


def check_pattern(option: str, pattern: str) -> None:
    """Refuse what is no regular expression of names."""
    try:
        name_pattern(pattern)
    except RecipeError as error:
        raise RecipeError(f"{option}={error}") from error
