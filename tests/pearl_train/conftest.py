"""Fixtures of the trainer's tests."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model_folder
from tiny_samples import tiny_dataset
from transformers import AutoProcessor

from pearl_train.model.tokens import find_special_tokens, token_names
from pearl_train.views.encode import Encoder


@pytest.fixture(autouse=True)
def heard_ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a terminal: a shell starts what it puts in the background with SIGINT ignored,
    and so would the tests be.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family's name to the folder of its tiny model; never write into it."""
    root = tmp_path_factory.mktemp("tiny-models")
    return lambda family: tiny_model_folder(family, root)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny data set (splits train, val, test); never write into it."""
    return tiny_dataset(tmp_path_factory.mktemp("tiny-data") / "set")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_folder: Callable[[str], Path]) -> Callable[..., Encoder]:
    """A function from a family's name, and options of :class:`Encoder`, to an encoder.

    ``template`` replaces the chat template. Encoders are shared: ask for a ``fresh`` one to change
    it or its processor.
    """

    known: dict[Any, Encoder] = {}

    def make(
        family: str, *, template: str | None = None, fresh: bool = False, **options: Any
    ) -> Encoder:
        key = (family, template, *sorted(options.items()))
        if fresh or key not in known:
            processor = AutoProcessor.from_pretrained(tiny_folder(family))
            processor.tokenizer.add_tokens(list(token_names(4, 4)), special_tokens=True)
            if template is not None:
                processor.chat_template = template
            made = Encoder(processor, find_special_tokens(processor, pred=4, pause=4), **options)
            if fresh:
                return made
            known[key] = made
        return known[key]

    return make
