"""A section takes what YAML gives and refuses what was not meant."""

from typing import Literal

import pytest
from pydantic import ValidationError

from blueprint.section import Section, key


class Inner(Section):
    count: int = key("How many.", 3, ge=1)
    height_m: float | None = key("Height in metres.", None, gt=0)


class Outer(Section):
    takes_null = ("address",)

    inner: Inner = key("Inner keys.", {})
    points: list[float] = key("Points.", [1.0], min_length=1)
    address: str | None = key("An address.", None)
    overlap: Literal[0, 1, 2] = key("Frames that overlap.", 1)


def test_defaults_reach_what_lies_inside_a_default():
    assert Outer().model_dump(exclude_none=True) == {"inner": {"count": 3}, "points": [1.0], "overlap": 1}


@pytest.mark.parametrize(
    "values",
    [
        {"inner": {"count": True}},
        {"inner": {"count": "3"}},
        {"inner": {"count": 3.5}},
        {"inner": {"height_m": float("nan")}},
        {"inner": {"height_m": float("inf")}},
        {"inner": {"height_m": None}},
        {"inner": None},
        {"points": []},
        {"points": [True]},
        {"other": 1},
        {"overlap": True},
        {"overlap": 1.0},
        {"address": "a\0b"},
    ],
    ids=str,
)
def test_what_was_not_meant_is_refused(values):
    with pytest.raises(ValidationError):
        Outer.model_validate(values)


def test_a_whole_number_stands_for_a_real_one_and_null_where_it_is_taken():
    outer = Outer.model_validate({"inner": {"height_m": 2}, "address": None})
    assert outer.inner.height_m == 2.0 and outer.address is None
