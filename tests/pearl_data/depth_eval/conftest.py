"""An evaluation of two models that know the drawn scene, one of them the wrong way round."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_depth import MODELS, two_folders

from pearl_data.depth_eval.evaluate import Options, evaluate
from pearl_data.depth_eval.figures import Gallery
from pearl_data.depth_eval.records import DepthReport


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_folders(tmp_path_factory.mktemp("set"), 3)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return Gallery(most=2)


@pytest.fixture(scope="module")
def report(data: Path, gallery: Gallery) -> DepthReport:
    return evaluate([data], MODELS, Options(pairs=2000), look=gallery.look)
