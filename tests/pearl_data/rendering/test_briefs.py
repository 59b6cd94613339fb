"""What a brief asks for is what the picture shows; what nobody asks for gives nothing away."""

import numpy as np
import pytest

from pearl_data.rendering import (
    LABEL_CHARACTERS,
    ObjectBrief,
    SceneBrief,
    SceneNotFoundError,
    render,
    render_brief,
    sample_scene,
)
from pearl_data.rendering.textures import TextureBank


def test_number_words_and_uniqueness_of_objects() -> None:
    brief = SceneBrief(n_objects=8, objects=(ObjectBrief(shape="egg", colour="purple"),))
    for seed in range(5):
        objects = sample_scene(seed, brief).objects
        assert [item.id for item in objects] == list(range(1, 9))
        assert (objects[0].shape, objects[0].colour) == ("egg", "purple")
        assert len({(item.shape, item.colour) for item in objects}) == 8


def test_explicit_descriptions_may_repeat_in_their_regions() -> None:
    left = ObjectBrief(shape="ball", colour="red", region=(0.05, 0.1, 0.42, 0.9))
    right = ObjectBrief(shape="ball", colour="red", region=(0.6, 0.1, 0.95, 0.9))
    drawn = render_brief(
        1, SceneBrief(n_objects=5, objects=(left, left, right)), width=320, height=240
    )
    reds = [item for item in drawn.objects if item.description == "red ball"]
    middles = [(item.bbox_px.x0 + item.bbox_px.x1) / 2 for item in reds]
    assert [middle < 160 for middle in middles] == [True, True, False]


def test_a_label_is_whole_small_and_made_of_distinct_pixels() -> None:
    brief = SceneBrief(n_objects=5, objects=(ObjectBrief(label="K"), ObjectBrief(label=True)))
    for seed in range(3):
        drawn = render_brief(seed, brief)
        assert drawn.objects[0].label == "K"
        assert drawn.objects[1].label in set(LABEL_CHARACTERS) - {"K"}
        assert all(item.label is None for item in drawn.objects[2:])
        for item in drawn.objects[:2]:
            box = item.label_bbox_px
            assert box is not None
            assert item.label_visible >= 0.99
            assert 12 <= box.y1 - box.y0 <= 32
            plate = drawn.image[box.y0 : box.y1, box.x0 : box.x1].mean(axis=2)
            low, high = np.percentile(plate, (3, 80))
            assert high - low > 90  # dark ink on light paper, also in shadow


def test_every_glyph_is_another_picture() -> None:
    bank = TextureBank()
    glyphs = [bank.levels(f"glyph:{character}")[4] for character in LABEL_CHARACTERS]
    assert glyphs[0].shape == (16, 16)
    for index, first in enumerate(glyphs):
        for second in glyphs[index + 1 :]:
            assert np.abs(first - second).mean() > 0.02


def test_near_far_pair_differs_by_more_than_a_quarter() -> None:
    brief = SceneBrief(n_objects=4, objects=(ObjectBrief(), ObjectBrief()), near_far=(1, 0))
    for seed in range(4):
        drawn = render_brief(seed, brief, width=320, height=240)
        assert drawn.objects[0].distance_m > 1.25 * drawn.objects[1].distance_m


def test_a_larger_gap_can_be_asked_for() -> None:
    pair = (ObjectBrief(), ObjectBrief())
    brief = SceneBrief(n_objects=3, objects=pair, near_far=(0, 1), near_far_ratio=2.16)
    drawn = render_brief(0, brief, width=160, height=120)
    assert drawn.objects[1].distance_m > 2 * drawn.objects[0].distance_m


def test_accept_is_asked_and_failure_names_the_seed() -> None:
    brief = SceneBrief(n_objects=3)
    with pytest.raises(SceneNotFoundError, match="seed 9: none of 2 scenes"):
        render_brief(9, brief, width=64, height=48, accept=lambda _: False, tries=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ObjectBrief(label="O"), "label: expected one of A"),
        (lambda: ObjectBrief(region=(0.5, 0, 0.4, 1)), "region: expected"),
        (lambda: SceneBrief(n_objects=13), "n_objects: expected 1..12"),
        (lambda: SceneBrief(n_objects=1, objects=(ObjectBrief(),) * 2), "at least the 2 given"),
        (lambda: SceneBrief(objects=(ObjectBrief(),), near_far=(0, 1)), "near_far: expected"),
        (lambda: SceneBrief(near_far_ratio=1.0), "near_far_ratio: expected more than 1.08"),
        (lambda: SceneBrief(variety="tidy"), "variety: expected clean or wild"),
    ],
)
def test_impossible_briefs_are_refused_with_the_reason(make, message: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_texture_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="it has flat"):
        TextureBank().levels("photo:none")


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


@pytest.fixture(scope="module")
def many() -> list[tuple[int, float, float, float]]:
    """(scene, visible pixels, row of the middle, distance) of the objects of many scenes."""
    found = []
    for seed in range(120):
        drawn = render(sample_scene(seed, width=96, height=72))
        found += [
            (seed, item.visible_px, (item.bbox_px.y0 + item.bbox_px.y1) / 2, item.distance_m)
            for item in drawn.objects
            if item.visible_px >= 12 and item.visible_px >= 0.8 * item.full_px
        ]
    return found


def test_size_in_the_picture_says_nothing_about_distance(many: list[tuple[float, ...]]) -> None:
    correlation = np.corrcoef(ranks([row[1] for row in many]), ranks([row[3] for row in many]))[
        0, 1
    ]
    assert len(many) > 400
    assert abs(correlation) < 0.2


def test_lower_and_bigger_are_no_better_than_a_coin_among_pairs(
    many: list[tuple[float, ...]],
) -> None:
    lower, bigger = [], []
    for first in many:
        for second in many:
            if first[0] == second[0] and second[3] > 1.25 * first[3]:
                lower.append(first[2] > second[2])
                bigger.append(first[1] > second[1])
    assert len(lower) > 600
    assert 0.4 < np.mean(lower) < 0.62
    assert 0.4 < np.mean(bigger) < 0.6


def test_most_objects_are_mostly_visible() -> None:
    shares = []
    for seed in range(30):
        drawn = render(sample_scene(seed, width=96, height=72))
        shares += [item.visible_px / max(item.full_px, 1) for item in drawn.objects]
    assert np.mean(np.array(shares) >= 0.5) > 0.95
