from __future__ import annotations

from box_strategies import pixel_boxes
from hypothesis import given
from hypothesis import strategies as st
from made_media import gradient, photo

from pearl_tools.executor import ToolExecutor
from pearl_tools.geometry import px_to_fraction
from pearl_tools.pixels import pixel_sha256
from pearl_tools.types import ToolCall

PHOTO = photo(300, 200)
EXECUTOR = ToolExecutor()


def crop_call(bbox: tuple[float, ...], image: str = "i0") -> ToolCall:
    return ToolCall(id="c1", tool="crop", arguments={"image": image, "bbox": list(bbox)})


@given(pixel_boxes(300, 200, least=4))
def test_crop_returns_exactly_the_pixels_of_the_box(box_px: tuple[int, int, int, int]) -> None:
    observation = EXECUTOR.run(crop_call(px_to_fraction(box_px, 300, 200)), {"i0": PHOTO})
    x0, y0, x1, y1 = box_px
    [result] = observation.media
    assert (result.pixels == gradient(300, 200)[y0:y1, x0:x1]).all()
    assert result.record.pixel_sha256 == pixel_sha256(gradient(300, 200)[y0:y1, x0:x1])
    assert (result.record.width, result.record.height) == (x1 - x0, y1 - y0)
    assert result.record.box_root == box_px


@given(st.data())
def test_crop_of_a_crop_equals_the_direct_crop_of_its_root_box(data: st.DataObject) -> None:
    outer = data.draw(pixel_boxes(300, 200, least=8))
    first = EXECUTOR.run(crop_call(px_to_fraction(outer, 300, 200)), {"i0": PHOTO}).media[0]
    width, height = outer[2] - outer[0], outer[3] - outer[1]
    inner = data.draw(pixel_boxes(width, height, least=4))
    media = {"i0": PHOTO, "o1": first}
    second = EXECUTOR.run(crop_call(px_to_fraction(inner, width, height), "o1"), media)
    assert second.effective is not None
    root = second.effective.box_root
    direct = EXECUTOR.run(crop_call(px_to_fraction(root, 300, 200)), {"i0": PHOTO})
    assert direct.media[0].record.pixel_sha256 == second.media[0].record.pixel_sha256
    assert (second.media[0].record.id, second.media[0].record.parent) == ("o2", "o1")


def test_crop_rejects_empty_box() -> None:
    observation = EXECUTOR.run(crop_call((0.5, 0.5, 0.5, 0.9)), {"i0": PHOTO})
    assert observation.error is not None
    assert observation.error.code == "geometry.zero_area"
    assert observation.exec is None


def test_text_says_which_pixels_were_taken() -> None:
    observation = EXECUTOR.run(crop_call((0.5, 0.5, 1, 1)), {"i0": PHOTO})
    assert observation.text == ("o1 is a crop of i0, 150x100 px: pixels [150, 100, 300, 200].")
