"""Regular expressions that are compiled late are those that `re.compile` makes."""

from __future__ import annotations

import re

from nimad.patterns import lazy_pattern


def test_it_is_what_re_makes() -> None:
    lazy, real = lazy_pattern(r"(\d+) (\w)", re.ASCII), re.compile(r"(\d+) (\w)", re.ASCII)
    for _ in range(2):  # the second time nothing is looked up
        assert lazy.findall("1 a 22 b") == real.findall("1 a 22 b")
        assert lazy.sub(r"\2", "1 a") == "a"
    assert (lazy.pattern, lazy.flags, lazy.groups) == (real.pattern, real.flags, real.groups)


def test_a_wrong_one_is_told_when_it_is_used() -> None:
    lazy = lazy_pattern("(")
    try:
        lazy.match("")
    except re.error as error:
        assert error.pattern == "("
    else:
        raise AssertionError("it was taken")
