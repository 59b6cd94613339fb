"""Words said again: all of them stood there before, and the losses know where."""

import importlib
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "nano"))
batches = importlib.import_module("batches")
captions = importlib.import_module("captions")
evaluate_words = importlib.import_module("evaluate_words")
grounding = importlib.import_module("grounding")
network = importlib.import_module("network")
pretrain = importlib.import_module("pretrain")
recalled = importlib.import_module("recalled")
samples = importlib.import_module("samples")
vocabulary = importlib.import_module("vocabulary")


@pytest.fixture(scope="module")
def processor() -> Any:
    rng = random.Random(0)
    texts = [captions.plain(text) for _ in range(300) for text in recalled.of_recalled(rng)]
    return network.build_processor(vocabulary.train_tokenizer(texts, 900))


def batch_of(processor: Any, seed: int, rows: int) -> Any:
    rng = random.Random(seed)
    return batches.to_batch([samples.recalled(rng, None) for _ in range(rows)], processor)


@pytest.mark.parametrize("kind", sorted(set(recalled.KINDS), key=lambda kind: kind.__name__))
def test_nothing_is_learnt_that_was_not_said_before(kind: Any) -> None:
    for seed in range(150):
        line, text = kind(random.Random(seed))
        learnt = 0
        for found in re.finditer(r"[^⟦⟧]+(?=⟦|$)", text):
            before = captions.plain(f"{line} {text[: found.start()]}").casefold()
            for words in found[0].strip(" .\n").split(", "):
                assert words.casefold() in before, text
                learnt += bool(words)
        assert learnt >= 1


def test_a_batch_of_words_alone_has_no_pictures(processor: Any) -> None:
    batch = batch_of(processor, 1, 6)
    assert batch.pixels.shape == (0, 3, 192, 192)
    assert batch.cells.shape == (0, 7, 36)
    eyes = pretrain.RestingEyes(network.build_model(processor.tokenizer))
    assert eyes(batch.pixels).shape == (0, 36, 256)


def test_where_a_token_stood_is_known(processor: Any) -> None:
    batch = batch_of(processor, 2, 12)
    found = grounding.recalled_in(batch)
    assert len(found.row)
    ids = batch.ids
    assert torch.equal(ids[found.row, found.column], ids[found.row, found.earlier])
    assert (found.earlier < found.column).all()
    assert (batch.labels[found.row, found.column] != batches.IGNORED).all()
    learnt = int((batch.labels != batches.IGNORED).sum())
    assert len(found.row) > 0.8 * learnt, "the ends of turns and a few points stood nowhere"


@pytest.mark.parametrize(
    ("ids", "learnt", "earlier"),
    [
        # the longest stretch: 5 6 stood at 3, a lone 5 at 1
        ([9, 5, 8, 5, 6, 7, 5, 6], 6, [(6, 3), (7, 4)]),
        # of equals the last
        ([5, 6, 5, 6, 1, 5, 6], 5, [(5, 2), (6, 3)]),
        # what never stood there is not looked for
        ([5, 1, 2, 3, 5], 3, [(4, 0)]),
        # a stretch may not run into itself
        ([5, 5, 5], 1, [(1, 0), (2, 1)]),
    ],
)
def test_the_longest_stretch_is_what_is_said_again(
    processor: Any, ids: list[int], learnt: int, earlier: list[tuple[int, int]]
) -> None:
    labels = [batches.IGNORED] * learnt + ids[learnt:]
    batch = batch_of(processor, 3, 1)._replace(
        ids=torch.tensor([ids]), labels=torch.tensor([labels]), lengths=[len(ids)]
    )
    _, column, at = grounding.recalled_in(batch)
    assert list(zip(column.tolist(), at.tolist(), strict=True)) == earlier


def test_what_is_said_again_is_counted_where_all_of_it_is_right(
    processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows the text, and one that always errs in one token of the last words."""
    model = network.build_model(processor.tokenizer)
    mistakes = {"column": 0}

    def says_all(input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        following = input_ids.roll(-1, dims=1)
        if mistakes["column"]:
            ends = (input_ids == processor.tokenizer.eos_token_id).int().cumsum(dim=1) == 2
            end = ends.int().argmax(dim=1)  # of the assistant's turn
            following[torch.arange(len(end)), end - mistakes["column"]] += 1
        return (torch.nn.functional.one_hot(following % len(processor.tokenizer)).float(),)

    monkeypatch.setattr(type(model.model), "forward", lambda _, input_ids: says_all(input_ids))
    monkeypatch.setattr(model, "lm_head", torch.nn.Identity())
    found = dict(evaluate_words.words_said_again(model, processor, 50))
    assert found == dict.fromkeys(evaluate_words.NAMES.values(), [True] * 50)
    mistakes["column"] = 2  # foreseeing the last token before the end
    found = dict(evaluate_words.words_said_again(model, processor, 50))
    assert found == dict.fromkeys(evaluate_words.NAMES.values(), [False] * 50)


def test_both_looks_have_gradients_and_cost_nothing_where_they_are_right(processor: Any) -> None:
    torch.manual_seed(0)
    model = network.build_model(processor.tokenizer)
    model.set_attn_implementation("eager")
    batch = batch_of(processor, 4, 5)
    ties = ("find", "before", "recall")
    watch = grounding.Grounding(grounding.Readers(), processor.tokenizer, ties)
    eyes = pretrain.RestingEyes(model)
    losses = pretrain.caption_loss(model, eyes, batch, grounding=watch, bfloat16=False)
    assert set(losses) == {"said again", "before", "recall"}
    query = model.model.language_model.layers[grounding.RECALL_LAYER].self_attn.q_proj.weight
    for name in ("before", "recall"):
        (gradient,) = torch.autograd.grad(losses[name], [query], retain_graph=True,
                                          allow_unused=True)  # fmt: skip
        # the token before is looked at in a layer below
        assert (gradient is not None) == (name == "recall")
    width = batch.ids.shape[1]
    right = torch.zeros(5, 6, width, width)
    right[:, 1, torch.arange(1, width), torch.arange(width - 1)] = 1
    found = grounding.recalled_in(batch)
    attentions = [right, right, torch.zeros_like(right), right]
    attentions[grounding.RECALL_LAYER][found.row, 1, found.column - 1, found.earlier] = 1
    told = watch.losses(model, torch.zeros(0, 36, 192), [], attentions, batch)
    assert all(float(loss) == pytest.approx(0, abs=1e-5) for loss in told.values())
