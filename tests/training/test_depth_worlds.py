"""The worlds that the depth network learns from: every kind, and every thing in the tables."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scripts import load_script

from pearl_data.rendering import Scene, TextureBank, render

worlds = load_script("training/depth/worlds.py", neighbours=True)
interiors = load_script("training/depth/interiors.py", neighbours=True)
company = load_script("training/depth/company.py", neighbours=True)

SIZE = (64, 48)
#: Kind of world -> how high its camera is held, in metres.
HEIGHTS_M = {
    "room": (0.35, 2.2),
    "tabletop": (0.55 + 0.15, 1.02 + 0.75),  # of the table's top, and above it
    "workshop": (0.5, 1.7),
    "street": (0.5, 3.5),
    "meadow": (0.5, 3.5),
    "drone": (8, 70),
}
#: Kind of world -> what stands in some of its scenes.
THINGS = {
    "room": "shelf sofa table lamp crate plant chair person contraption",
    "tabletop": "trinket shelf chair plant person lamp",
    "workshop": "contraption car sofa table shelf lamp crate plant chair person",
    "street": "house tree post person plant car",
    "meadow": "tree plant rock person crate chair contraption car",
    "drone": "house tree car plant crate",
}
COMPANY = "figure animal chair crate house lamp plant post shelf table tree trinket"
INTERIOR = "cupboard shelf sofa table plant lamp bed crate chair person machine trinket"


def sample(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(worlds, "KINDS", (kind,))
    rng = np.random.default_rng((seed, 7))
    scene: Scene = worlds.sample_world(rng, seed, TextureBank(), *SIZE)
    return scene


def test_every_kind_of_world_is_drawn_and_indoor_ones_most_often() -> None:
    counts = Counter(worlds.KINDS)
    assert set(counts) == set(HEIGHTS_M) == set(THINGS)
    assert counts.most_common(1)[0][0] == "room"


@pytest.mark.parametrize("kind", HEIGHTS_M)
def test_a_world_has_depth_and_things_and_its_camera_is_where_it_would_be_held(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = HEIGHTS_M[kind]
    heights = [sample(kind, seed, monkeypatch).camera.position[2] for seed in range(10)]
    assert all(low - 1e-6 <= height <= high + 1e-6 for height in heights)
    assert np.ptp(heights) > 0.1 * (high - low)
    monkeypatch.setattr(worlds, "ATTEMPTS", 8)
    things = []
    for seed in (2, 3):
        _, drawn = worlds.scene_worth_seeing(worlds.sample_world, 7, seed, TextureBank(), *SIZE)
        assert drawn.depth_m.shape == SIZE[::-1]
        assert np.isfinite(drawn.depth_m).all()
        assert drawn.depth_m.min() > 0
        things.append(len(set(np.unique(drawn.instance)) - {0}))
    assert max(things) > 1


@pytest.mark.parametrize("kind", THINGS)
def test_all_things_of_a_kind_stand_in_some_world(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = THINGS[kind].split()
    met = listen(worlds, names, monkeypatch)
    for seed in range(80):
        sample(kind, seed, monkeypatch)
    assert {name for name in names if met[name] > 1} == set(names)


@pytest.mark.parametrize(
    ("module", "sampler", "stream", "things"),
    [(interiors, "sample_interior", 11, INTERIOR), (company, "sample_company", 17, COMPANY)],
    ids=["interiors", "company"],
)
def test_all_things_of_a_generator_are_in_some_picture(
    module: Any, sampler: str, stream: int, things: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = things.split()
    met = listen(module, names, monkeypatch)
    for seed in range(40):
        getattr(module, sampler)(np.random.default_rng((seed, stream)), seed, TextureBank(), *SIZE)
    assert {name for name in names if met[name] > 1} == set(names)


@pytest.mark.parametrize("kind", sorted(set(company.KINDS)))
def test_company_is_close(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is nearer than the rest by far, and takes a good part of the picture."""
    monkeypatch.setattr(company, "KINDS", (kind,))
    shares = []
    for seed in range(4):
        drawn = company.draw_company(seed, TextureBank(), *SIZE)
        assert np.isfinite(drawn.depth_m).all()
        near = drawn.depth_m[drawn.instance > 0]
        assert near.min() < 0.7 * np.quantile(drawn.depth_m[drawn.instance == 0], 0.8)
        shares.append(near.size / drawn.depth_m.size)
    assert max(shares) > 0.15


@pytest.mark.parametrize(("seated", "low_m", "high_m"), [(False, 1.4, 2.6), (True, 1.0, 2.0)])
def test_somebody_is_as_tall_as_people_are(low_m: float, high_m: float, *, seated: bool) -> None:
    for seed in range(3):
        make = worlds.Maker(np.random.default_rng(seed), TextureBank())
        company.figure(make, worlds.Spot(0.0, 6.0, 0.0, 0.3), seated=seated)
        assert {part.owner for part in make.parts} == ({1, 2} if seated else {1})
        assert low_m < seen_height_m(make) < high_m


@pytest.mark.parametrize(
    ("name", "low_m", "high_m"),
    [("person", 1.1, 2.4), ("plant", 0.2, 3.5), ("car", 0.8, 2.6), ("tree", 1.5, 6)],
)
def test_a_thing_is_one_thing_of_an_everyday_size_on_its_spot(
    name: str, low_m: float, high_m: float
) -> None:
    for seed in range(3):
        make = worlds.Maker(np.random.default_rng(seed), TextureBank())
        reach = getattr(worlds, name)(make, worlds.Spot(0.0, 6.0, 0.0, 0.3))
        assert 0 < reach < 6
        assert {part.owner for part in make.parts} == {1}
        assert len(make.parts) > 1
        assert low_m < seen_height_m(make) < high_m


def listen(module: Any, names: list[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts which of the things ``names`` a generator makes; they are made all the same."""
    met: Counter[str] = Counter()

    def counted(name: str) -> Any:
        original = getattr(module, name)

        def made(*arguments: Any, **named: Any) -> Any:
            met[name] += 1
            return original(*arguments, **named)

        return made

    for name in names:
        monkeypatch.setattr(module, name, counted(name))
    return met


def seen_height_m(make: Any) -> float:
    """How far above the ground a thing reaches, in a picture of it that ends 4 m above."""
    low, high = (-60.0, -60.0, 0.0), (60.0, 60.0, 60.0)
    rng = np.random.default_rng(0)
    camera = worlds.look((0, 0, 1), (0, 6, 1), hfov_deg=60)
    lights, air = worlds.lamps(rng, low, high)
    shell = worlds.shell(make, low, high, outdoors=True)
    scene = Scene(
        seed=0,
        setting="room",
        width=128,
        height=128,
        camera=camera,
        parts=(shell, *make.parts),
        objects=(),
        lights=lights,
        atmosphere=air,
    )
    drawn = render(scene, bank=TextureBank())
    rows, _ = np.nonzero(drawn.instance == 1)
    middle, focal = 63.5, camera.focal_px(128)
    return float(1 + (middle - rows.min()) / focal * drawn.depth_m[drawn.instance == 1].min())
