from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pearl_tools.executor import ToolExecutor
from pearl_tools.media import as_medium, open_image
from pearl_tools.types import Medium, ToolCall


@pytest.fixture(scope="module")
def executor() -> ToolExecutor:
    """An executor with the weights of the package."""
    return ToolExecutor()


def depth_of(executor: ToolExecutor, *pictures: Medium) -> list[Medium]:
    call = ToolCall(id="c1", tool="depth", arguments={"image": "i0"})
    observations = executor.run_many([(call, {"i0": picture}) for picture in pictures])
    return [observation.media[0] for observation in observations]


def test_embedded_model_returns_a_finite_map_that_covers_the_picture(
    executor: ToolExecutor, shared_data: Path
) -> None:
    picture = open_image((shared_data / "photos/coffee.png").read_bytes())
    [depth] = depth_of(executor, picture)
    assert depth.pixels.dtype == np.float32
    assert np.isfinite(depth.pixels).all()
    assert depth.pixels.std() > 0
    assert depth.record.box_root == (0, 0, 600, 400)


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """With several threads, batches of different sizes differ in the last bits (3e-7 measured)."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_torch_thread")
def test_map_does_not_depend_on_what_else_is_in_the_batch(executor: ToolExecutor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 120, 160, 3), np.uint8)
    pictures = [as_medium(pixels) for pixels in noise]
    together = depth_of(executor, *pictures)
    executor.clear_cache()
    alone = [depth_of(executor, picture)[0] for picture in pictures]
    hashes = [[m.record.pixel_sha256 for m in media] for media in (together, alone)]
    assert hashes[0] == hashes[1]
