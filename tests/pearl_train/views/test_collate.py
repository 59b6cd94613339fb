"""Rows of a batch: what stands where, what is learned from where, which pictures are shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_models import FAMILIES
from tiny_samples import changed, tiny_sample

from pearl_train.objectives.prediction import without_prediction
from pearl_train.views.batch import PADDING, PREFIX, Batch, EncodedSample, Rows, ViewPlan
from pearl_train.views.collate import collate, joined, muted
from pearl_train.views.encode import Encoder, encode_sample

Make = Callable[..., Encoder]
EVERYTHING = ViewPlan(("answer", "trajectory", "pred", "lvr"), 4, 2, target=True)
NUMBERS = (0, 7, 5, 2)


def encoded(encoder: Encoder, plan: ViewPlan = EVERYTHING) -> list[EncodedSample]:
    made = [encode_sample(tiny_sample(n), "s", plan, encoder) for n in NUMBERS]
    assert all(isinstance(one, EncodedSample) for one in made)
    return made  # type: ignore[return-value]


def batch_of(encoder: Encoder, plan: ViewPlan = EVERYTHING) -> tuple[list[EncodedSample], Batch]:
    samples = encoded(encoder, plan)
    return samples, collate(samples, pad_id=encoder.pad_id)


def row(rows: Rows, number: int, branch: int) -> list[int]:
    return rows.ids[number][rows.branch[number] == branch].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_the_context_and_its_branches_padded_on_the_right(
    family: str, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    samples, batch = batch_of(encoder)
    for number, sample in enumerate(samples):
        assert row(batch.context, number, PREFIX) == list(sample.context.ids)
        for place, span in enumerate(sample.branches.values(), 1):
            assert row(batch.context, number, place) == list(span.ids)
        branch = batch.context.branch[number].tolist()
        real = [place for place in branch if place != PADDING]
        assert real == sorted(real)
        assert branch == real + [PADDING] * (len(branch) - len(real))
        assert set(row(batch.context, number, PADDING)) <= {encoder.pad_id}
        assert batch.target is not None
        assert sample.target is not None
        assert row(batch.target, number, PREFIX) == list(sample.target.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_image_tokens_in_rows_are_as_many_as_their_pictures_have(
    family: str, tiny_encoder: Make
) -> None:
    _, batch = batch_of(tiny_encoder(family))
    for rows in (batch.context, batch.target):
        assert rows is not None
        for number, shown in enumerate(rows.images):
            tokens = sum(batch.image_tokens[image] for image in shown)
            assert int(rows.is_image[number].sum()) == tokens


def test_every_learned_token_is_predicted_by_the_one_before(tiny_encoder: Make) -> None:
    samples, batch = batch_of(tiny_encoder("qwen3_vl"))
    context = batch.context
    assert set(context.learned) == {"answer", "trajectory", "lvr"}
    for name, learned in context.learned.items():
        place = list(samples[0].branches).index(name) + 1
        assert torch.equal(context.ids[learned.row, learned.column], learned.id)
        assert (context.branch[learned.row, learned.column] == place).all()
        for r, source, column in zip(learned.row, learned.source, learned.column, strict=True):
            length = len(samples[int(r)].context.ids)
            first = int((context.branch[r] == place).nonzero()[0])
            assert int(source) == (length - 1 if int(column) == first else int(column) - 1)
        spans = [sample.branches[name] for sample in samples]
        expected = [i for s in spans for i, learn in zip(s.ids, s.learn, strict=True) if learn]
        assert learned.id.tolist() == expected
        assert batch.counts[name] == len(expected)


def test_the_first_token_of_a_branch_is_predicted_by_the_end_of_the_prompt(
    tiny_encoder: Make,
) -> None:
    samples, batch = batch_of(tiny_encoder("fast_vlm"), ViewPlan(("answer",)))
    learned = batch.context.learned["answer"]
    firsts = [int(learned.source[learned.row == number][0]) for number in range(len(samples))]
    assert firsts == [len(sample.context.ids) - 1 for sample in samples]


def test_after_pause_tokens_the_last_of_them_predicts_the_answer(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    _, batch = batch_of(encoder, ViewPlan(("answer",), pause_tokens=2))
    learned = batch.context.learned["answer"]
    first = learned.source[learned.row == 0][0]
    assert int(batch.context.ids[0, first]) == encoder.tokens.pause[1]


def test_predictions_are_read_at_the_last_pred_token_or_the_last_of_the_prompt(
    tiny_encoder: Make,
) -> None:
    encoder = tiny_encoder("qwen2_5_vl")
    _, batch = batch_of(encoder)
    place = batch.context.reads["last-pred"]
    assert place.row.tolist() == [0, 1, 2, 3]
    assert set(batch.context.ids[place.row, place.column].tolist()) == {encoder.tokens.pred[3]}
    samples, without = batch_of(encoder, ViewPlan(("answer",), target=True))
    columns = without.context.reads["last-pred"].column.tolist()
    assert columns == [len(sample.context.ids) - 1 for sample in samples]


def test_the_release_reads_where_the_user_turn_is_closed(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl")
    _, batch = batch_of(encoder)
    place = batch.context.reads["end-of-question"]
    assert set(batch.context.ids[place.row, place.column].tolist()) == {encoder.stop_ids[0]}
    assert (batch.context.branch[place.row, place.column] == PREFIX).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_pred_tokens_in_the_question_are_read_where_its_turn_is_closed_after_them(
    family: str, tiny_encoder: Make
) -> None:
    """As in the release, where they end the user's turn; every other view reads what it did."""
    encoder = tiny_encoder(family)
    plan = ViewPlan(("answer", "pred", "trajectory"), 3, 2)
    plain, apart = batch_of(encoder, plan)
    samples, batch = batch_of(encoder, plan._replace(pred_in_question=True))
    reads, context = batch.context.reads, batch.context
    for number, (before, sample) in enumerate(zip(plain, samples, strict=True)):
        question = row(context, number, PREFIX)
        asked, at = list(before.context.ids), before.context.marks["closing"]
        assert question == asked[:at]
        closing = asked[at : before.context.marks["end-of-question"] + 1]
        assert len(closing) == bool(encoder.template.closing), "one special token, or none"
        pred = list(encoder.tokens.pred[:3])
        assert list(sample.branches["pred"].ids) == pred + closing
        for place, name in ((1, "answer"), (3, "trajectory")):
            assert question + row(context, number, place) == asked + list(before.branches[name].ids)
        for name, last in (("last-pred", pred[-1]), ("end-of-question", [*pred, *closing][-1])):
            assert context.branch[number, reads[name].column[number]] == 2
            assert context.ids[number, reads[name].column[number]] == last
    for name, learned in context.learned.items():
        states = context.ids[learned.row, learned.source]
        known = apart.context.learned[name]
        assert torch.equal(learned.id, known.id)
        assert torch.equal(states, apart.context.ids[known.row, known.source])


def test_rows_lose_pred_tokens_in_the_question_as_well(tiny_encoder: Make) -> None:
    plan = ViewPlan(("answer", "pred"), 3, pred_in_question=True)
    _, batch = batch_of(tiny_encoder("qwen2_5_vl"), plan)
    _, plain = batch_of(tiny_encoder("qwen2_5_vl"), ViewPlan(("answer",)))
    rows = without_prediction(batch.context)
    real = plain.context.branch >= 0
    assert torch.equal(rows.ids[real], plain.context.ids[real])
    assert torch.equal(rows.learned["answer"].column, plain.context.learned["answer"].column)
    assert not rows.reads


def test_targets_are_read_at_their_end_and_before_their_conclusion(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("internvl")
    samples, batch = batch_of(encoder)
    assert batch.target is not None
    last, before = batch.target.reads["last"], batch.target.reads["before-conclusion"]
    assert set(batch.target.ids[last.row, last.column].tolist()) == {encoder.stop_ids[0]}
    assert before.column.tolist() == [
        sample.target.marks["conclusion"] for sample in samples if sample.target
    ]


def test_pictures_that_several_views_or_samples_show_are_there_once(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    crop = tiny_sample(0)
    twin = changed(crop, id="twin", task__question="Another question about it?")
    samples = [encode_sample(s, "s", EVERYTHING, encoder) for s in (crop, twin, tiny_sample(2))]
    batch = collate(samples, pad_id=encoder.pad_id)
    assert batch.target is not None
    assert batch.context.images == ((0, 1), (0, 1), (2, 3, 4))
    assert batch.target.images == ((1,), (1,), (3, 4))
    assert len(batch.image_tokens) == 5
    assert batch.images["pixel_values"].shape[0] == 5


def test_pictures_without_a_name_for_their_pixels_are_never_merged(tiny_encoder: Make) -> None:
    sample = encoded(tiny_encoder("fast_vlm"), ViewPlan(("answer",)))[0]
    nameless = replace(sample, images=tuple(replace(i, content="") for i in sample.images))
    assert len(collate([nameless, nameless], pad_id=0).image_tokens) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tensors_of_pictures_can_be_told_apart(family: str, tiny_encoder: Make) -> None:
    samples, batch = batch_of(tiny_encoder(family))
    images = [image for sample in samples for image in sample.images]
    for name, tensor in batch.images.items():
        axis = 1 if family == "idefics3" else 0
        parts = tensor.split(list(batch.image_sizes[name]), dim=axis)
        assert len(parts) == len(images)
        for part, image in zip(parts, images, strict=True):
            assert torch.equal(part, image.inputs[name])


def test_pictures_of_other_sizes_are_padded_below_and_on_the_right() -> None:
    small = {
        "pixel_values": torch.ones(1, 1, 3, 2, 4),
        "pixel_attention_mask": torch.ones(1, 1, 2, 4),
    }
    large = {
        "pixel_values": torch.ones(1, 2, 3, 3, 3),
        "pixel_attention_mask": torch.ones(1, 2, 3, 3),
    }
    made = joined([small, large])
    assert made["pixel_values"].shape == (1, 3, 3, 3, 4)
    assert made["pixel_attention_mask"][0].sum(dim=(1, 2)).tolist() == [8, 9, 9]
    assert made["pixel_attention_mask"][0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert joined([]) == {}


def test_tiles_on_an_axis_of_each_picture_are_padded() -> None:
    """LLaVA-Next: pictures, tiles, channels, height, width, and their sizes."""
    one = {"pixel_values": torch.ones(1, 3, 3, 2, 2), "image_sizes": torch.tensor([[4, 8]])}
    two = {"pixel_values": torch.ones(1, 5, 3, 2, 2), "image_sizes": torch.tensor([[9, 9]])}
    made = joined([one, two])
    assert made["pixel_values"].shape == (2, 5, 3, 2, 2)
    assert made["pixel_values"].sum(dim=(1, 2, 3, 4)).tolist() == [36, 60]
    assert made["image_sizes"].tolist() == [[4, 8], [9, 9]]


@pytest.mark.parametrize("family", FAMILIES)
def test_latents_point_at_the_features_of_their_region(family: str, tiny_encoder: Make) -> None:
    encoder = tiny_encoder(family)
    samples, batch = batch_of(encoder)
    latents = batch.context.latents
    assert latents is not None
    assert batch.counts["latents"] == len(latents.row) == sum(len(s.region) for s in samples)
    assert (batch.context.ids[latents.row, latents.column] == encoder.tokens.lvr).all()
    assert torch.equal(latents.source, latents.column - 1)
    starts = [sum(batch.image_tokens[:n]) for n in range(len(batch.image_tokens))]
    for number, sample in enumerate(samples):
        first = sum(len(one.images) for one in samples[:number])  # no picture is shared here
        expected = [starts[first + token.image] + token.token for token in sample.region]
        assert latents.feature[latents.row == number].tolist() == expected


def test_a_muted_batch_can_be_computed_and_adds_nothing(tiny_encoder: Make) -> None:
    _, batch = batch_of(tiny_encoder("fast_vlm"))
    quiet = muted(batch)
    assert quiet.keys == quiet.shards == ()
    assert set(quiet.counts) == set(batch.counts)
    assert set(quiet.counts.values()) == {0}
    assert torch.equal(quiet.context.ids, batch.context.ids)
    for learned in quiet.context.learned.values():
        assert [len(tensor) for tensor in (learned.row, learned.source, learned.id)] == [0, 0, 0]
    assert all(len(place.row) == 0 for place in quiet.context.reads.values())
    assert quiet.context.latents is not None
    assert len(quiet.context.latents.feature) == 0


def test_samples_of_different_plans_do_not_share_a_batch(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    one = encoded(encoder, ViewPlan(("answer",)))[0]
    with pytest.raises(ValueError, match="every sample with the branches"):
        collate([one, encoded(encoder)[1]], pad_id=0)
    with pytest.raises(ValueError, match="a target in every sample"):
        collate([one, encoded(encoder, ViewPlan(("answer",), target=True))[1]], pad_id=0)
