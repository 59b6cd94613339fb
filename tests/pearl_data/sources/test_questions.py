from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.sources.facts import Thing, box_words, intersection_share, phrase
from pearl_data.sources.nouns import plural
from pearl_data.sources.regions import region_with
from pearl_data.sources.tasks import arrange
from pearl_data.sources.vocabulary import Vocabulary


def thing(number: int, box: tuple[float, float, float, float], **known: object) -> Thing:
    return Thing(id=str(number), name="ball", bbox=box, **known)  # type: ignore[arg-type]


boxes = st.tuples(
    st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(st.lists(boxes, min_size=2, max_size=8), st.integers(1, 6), st.integers(0, 99))
def test_a_region_holds_exactly_the_number_asked_for_and_cuts_nothing(
    drawn: list[tuple[float, float, float, float]], number: int, seed: int
) -> None:
    things = [thing(i, box) for i, box in enumerate(drawn)]
    region = region_with(things, number, random.Random(seed))
    if region is None:
        return
    shares = [intersection_share(t.bbox, region) for t in things]
    assert sum(share > 0.999 for share in shares) == number
    assert all(share == 0 or share > 0.999 for share in shares)
    assert 0 <= region[0] < region[2] <= 1
    assert 0 <= region[1] < region[3] <= 1


def test_a_region_is_named_exactly_by_the_words_of_its_question() -> None:
    things = [thing(0, (0.111, 0.222, 0.211, 0.322)), thing(1, (0.7, 0.7, 0.8, 0.8))]
    region = region_with(things, 1, random.Random(3))
    assert region is not None
    assert [float(v) for v in box_words(region)[1:-1].split(",")] == list(region)


@given(st.lists(st.text(min_size=1), max_size=4), st.integers(0, 20))
def test_the_answer_stands_where_it_was_put(wrong: list[str], position: int) -> None:
    choices = arrange("<answer>", wrong, position)
    assert choices[position % len(choices)] == "<answer>"
    assert sorted(choices) == sorted([*wrong, "<answer>"])


def test_a_phrase_means_one_thing_only() -> None:
    red = thing(0, (0.1, 0.1, 0.2, 0.2), attributes={"color": "red"})
    blue = thing(1, (0.3, 0.1, 0.4, 0.2), attributes={"color": "blue"})
    other_blue = thing(2, (0.5, 0.1, 0.6, 0.2), attributes={"color": "blue"})
    assert phrase(red, [red]) == "the ball"
    assert phrase(red, [red, blue]) == "the red ball"
    assert phrase(blue, [red, blue, other_blue]) == "the ball at [0.3, 0.1, 0.4, 0.2]"
    uncoloured = thing(3, (0.7, 0.1, 0.8, 0.2))
    assert phrase(red, [red, uncoloured]) == "the ball at [0.1, 0.1, 0.2, 0.2]"


def test_wrong_choices_never_hold_the_answer_or_a_repetition() -> None:
    things = [
        thing(i, (0, 0, 1, 1), attributes={"color": colour})
        for i, colour in enumerate(["red"] * 8 + ["blue", "green", "grey"])
    ]
    vocabulary = Vocabulary(things)
    for seed in range(50):
        wrong = vocabulary.wrong_values(things[0], "color", random.Random(seed))
        assert sorted(wrong) == ["blue", "green", "grey"]


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("ball", "balls"), ("box", "boxes"), ("person", "people"), ("brush", "brushes"),
        ("galaxy", "galaxies"), ("skis", "skis"), ("scissors", "scissors"), ("people", "people"),
        ("persons", "persons"), ("women", "women"), ("strawberry", "strawberries"),
        ("woman", "women"), ("bus", "buses"), ("buses", "buses"), ("fish", "fish"),
        ("glasses", "glasses"), ("baby", "babies"), ("shelf", "shelves"), ("wolf", "wolves"),
        ("traffic light", "traffic lights"), ("wine glass", "wine glasses"), ("tooth", "teeth"),
        ("lens", "lenses"), ("taxis", "taxis"), ("head of cattle", "heads of cattle"),
        ("bow (weapon)", "bows (weapon)"), ("german", "germans"), ("class 3", "class 3"),
        ("犬", "犬"), ("", ""),
    ],
)  # fmt: skip
def test_plurals_are_english(name: str, several: str) -> None:
    assert plural(name) == several
