"""Cached targets are the computed ones, and belong to what they were computed from."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from toy_objectives import ToyBackbone, toy_batch, toy_sample

from pearl_data.shards.files import WholeFile
from pearl_tools.errors import BadInput, UsageError
from pearl_train.objectives.pearl import target_plan
from pearl_train.objectives.target import embed_rows, embed_target
from pearl_train.objectives.target_cache import (
    Identity,
    TargetCache,
    base_fingerprint,
    fill,
    processor_fingerprint,
    target_identity,
)
from pearl_train.objectives.target_files import shared_folder
from pearl_train.settings.config import Config, DataConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import Batch
from pearl_train.views.encode import Dropped
from pearl_train.views.tally import Outcome, Tally

FROZEN = Config(objective=ObjectiveConfig(target=TargetConfig(source="frozen-base")))
SAMPLES = [toy_sample(number) for number in range(6)]
RECORDS = {sample.key: f"hash-{sample.key}" for sample in SAMPLES}


class ToyProcessor:
    """What of a processor counts."""

    def __init__(self) -> None:
        self.chat_template = "{{ messages }}"
        self.image_processor = SimpleNamespace(to_dict=lambda: {"size": 28})
        backend = SimpleNamespace(to_str=lambda: "words")
        self.tokenizer = SimpleNamespace(backend_tokenizer=backend)


def backbone() -> ToyBackbone:
    made = ToyBackbone()
    made.processor = ToyProcessor()
    return made


def batches() -> list[Batch]:
    plan = target_plan(FROZEN.objective)
    return [toy_batch(SAMPLES[:4], plan), toy_batch(SAMPLES[4:], plan)]


def test_the_cached_target_is_the_computed_one(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    assert cache.missing(RECORDS) == list(RECORDS)
    assert fill(cache, network.train(), batches(), FROZEN) == 6
    assert cache.missing(RECORDS) == []
    again = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    torch.nn.init.normal_(network.adapter.weight)
    for batch in batches():
        made = embed_target(network, batch, FROZEN.objective, torch.nn.ModuleDict())
        assert torch.equal(again(batch), made)
    shuffled = toy_batch([SAMPLES[5], SAMPLES[0]], target_plan(FROZEN.objective))
    expected = torch.stack([again(batches()[1])[1], again(batches()[0])[0]])
    assert torch.equal(again(shuffled), expected)


def test_batches_are_moved_to_where_the_network_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    moved: list[object] = []
    to = Batch.to

    def told(batch: Batch, device: torch.device | str) -> Batch:
        moved.append(device)
        return to(batch, device)

    monkeypatch.setattr(Batch, "to", told)
    fill(cache, network, batches(), FROZEN)
    assert moved == [network.device] * 2


def test_files_hold_many_targets_and_several_processes_may_write(tmp_path: Path) -> None:
    network = backbone()
    identity = target_identity(network, FROZEN)
    one, two = (TargetCache(tmp_path, identity, RECORDS) for _ in range(2))
    fill(one, network, batches()[:1], FROZEN, per_file=2)
    fill(two, network, batches()[1:], FROZEN, per_file=2)
    one.refresh()
    assert one.missing(RECORDS) == []
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"objective": ObjectiveConfig(target=TargetConfig(source="frozen-base", read="mean"))},
        {"objective": ObjectiveConfig(
            target=TargetConfig(source="frozen-base", include_answer=False))},
        {"data": DataConfig(answers="letter")},
        {"data": DataConfig(max_tokens=100)},
    ],
)  # fmt: skip
def test_other_options_are_other_targets(changed: dict[str, Any]) -> None:
    network = backbone()
    config = Config(**{"objective": FROZEN.objective, **changed})
    assert target_identity(network, config).sha256 != target_identity(network, FROZEN).sha256


def test_options_that_shape_no_target_are_the_same_target() -> None:
    network = backbone()
    other = ObjectiveConfig(
        weight=1.0,
        loss_dropout=0.5,
        target=TargetConfig(source="frozen-base", ema_decay=0.5, cache="elsewhere"),
    )
    config = Config(seed=7, objective=other, data=DataConfig(workers=3, split="all"))
    assert target_identity(network, config) == target_identity(network, FROZEN)


def test_another_record_template_processor_or_model_is_another_target(tmp_path: Path) -> None:
    network = backbone()
    identity = target_identity(network, FROZEN)
    cache = TargetCache(tmp_path, identity, RECORDS)
    fill(cache, network, batches(), FROZEN)
    edited = TargetCache(tmp_path, identity, {**RECORDS, "toy-1": "edited"})
    assert edited.missing(RECORDS) == ["toy-1"]

    before = processor_fingerprint(network.processor)
    network.processor.image_processor.to_dict = lambda: {"size": 56}
    assert processor_fingerprint(network.processor) != before
    network.processor = ToyProcessor()
    network.processor.chat_template = "{{ other }}"
    assert processor_fingerprint(network.processor) != before
    assert TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS).missing(RECORDS)

    weights = base_fingerprint(network)
    with torch.no_grad():
        network.layers[0].up.bias[3] += 1e-6
    assert base_fingerprint(network) != weights


def test_rows_of_tokens_that_we_add_do_not_count() -> None:
    """They differ from seed to seed, and R holds none of them."""
    network = backbone()
    before = base_fingerprint(network)
    with torch.no_grad():
        network.embedding.weight[network.tokens.pred[1]] += 1
        network.head.weight[network.tokens.lvr] += 1
    assert base_fingerprint(network) == before
    with torch.no_grad():
        network.embedding.weight[20] += 1
    assert base_fingerprint(network) != before


def test_a_sample_without_a_target_is_named(tmp_path: Path) -> None:
    cache = TargetCache(tmp_path, Identity("0" * 64, {}), RECORDS)
    with pytest.raises(BadInput, match=r"got none for toy-0, toy-1, toy-2 \(4 of 4\)"):
        cache(batches()[0])


def test_a_file_of_the_first_format_is_passed_over(tmp_path: Path) -> None:
    """A run that made it goes on; it makes its targets anew, for what became of samples."""
    old = {"names": torch.zeros(2, 32, dtype=torch.uint8), "targets": torch.ones(2, 4)}
    save_file(old, tmp_path / "targets-00.safetensors", metadata={"made_from": "{}"})
    cache = TargetCache(tmp_path, target_identity(backbone(), FROZEN), RECORDS)
    assert cache.missing(RECORDS) == list(RECORDS)


def filled(folder: Path, shared: Path | None = None) -> TargetCache:
    """A cache with one file that holds every target, and what became of a sample."""
    network, tally = backbone(), Tally()
    tally.change("toy-0", "downscaled")
    cache = TargetCache(folder, target_identity(network, FROZEN), RECORDS, shared=shared)
    fill(cache, network, batches(), FROZEN, tally=tally)
    return cache


def remade(folder: Path, whole: TargetCache, shared: Path | None = None) -> TargetCache:
    """The cache in ``folder`` after a run took it up; every target as in ``whole``."""
    network = backbone()
    cache = TargetCache(folder, target_identity(network, FROZEN), RECORDS, shared=shared)
    cache.borrow(RECORDS)
    fill(cache, network, batches(), FROZEN)
    for batch in batches():
        assert torch.equal(cache(batch), whole(batch))
    return cache


def flips(content: bytes) -> list[bytes]:
    """One bit turned in every part of a file: its length, its header, keys and values."""
    rng = random.Random(22)
    head = 8 + int.from_bytes(content[:8], "little")
    places = [*range(8), *rng.choices(range(8, head), k=92),
              *rng.choices(range(head, len(content)), k=100)]  # fmt: skip
    spoilt = []
    for place in places:
        turned = bytearray(content)
        turned[place] ^= 1 << rng.randrange(8)
        spoilt.append(bytes(turned))
    return spoilt


def test_no_bit_of_a_file_can_turn_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = filled(tmp_path / "whole")
    [path] = (tmp_path / "whole").iterdir()
    content = path.read_bytes()
    cuts = [content[:end] for end in range(0, len(content), len(content) // 40)]
    damaged = [*flips(content), *cuts, content + b"\0", b"torn"]
    for number, spoilt in enumerate(damaged):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / path.name).write_bytes(spoilt)
        cache = TargetCache(folder, whole.identity, RECORDS)
        assert cache.missing(RECORDS) == list(RECORDS), number
        assert cache.outcomes(RECORDS) == {}
        said = capsys.readouterr().err
        assert str(folder / path.name) in said
        assert "got that of targets-" in said
        assert (folder / f"{path.name}.damaged").read_bytes() == spoilt
    assert len(damaged) > 240
    remade(tmp_path / "0", whole)
    assert len(list((tmp_path / "0").glob("targets-*.safetensors"))) == 1
    assert capsys.readouterr().err == "", "said once"


def test_files_that_changed_places_are_made_anew(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole")
    network, folder = backbone(), tmp_path / "swapped"
    cache = TargetCache(folder, whole.identity, RECORDS)
    fill(cache, network, batches(), FROZEN, per_file=2)
    one, two = sorted(folder.iterdir())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert TargetCache(folder, whole.identity, RECORDS).missing(RECORDS) == list(RECORDS)
    remade(folder, whole)


@pytest.mark.parametrize("links", [True, False])
def test_a_damaged_file_that_runs_share_is_made_anew_for_all(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError("Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    shared = tmp_path / "shared"
    whole = filled(tmp_path / "whole")
    filled(tmp_path / "one", shared)
    [path] = shared.iterdir()
    content = bytearray(path.read_bytes())
    content[-5] ^= 8
    path.write_bytes(content)  # of links: in the run's folder as well
    remade(tmp_path / "two", whole, shared)
    assert remade(tmp_path / "one", whole, shared).missing(RECORDS) == []
    for folder in ("shared", "one", "two"):
        assert TargetCache(tmp_path / folder, whole.identity, RECORDS).missing(RECORDS) == []


def test_a_file_of_the_right_name_that_we_did_not_write_is_made_anew(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole")
    for content in (b"", b"{}", save({"names": torch.zeros(1, 32, dtype=torch.uint8)})):
        name = f"targets-{hashlib.sha256(content).hexdigest()[:24]}.safetensors"
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(content)
        remade(folder, whole)


def test_a_target_that_is_no_number_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(model: Any, batch: Batch, options: TargetConfig) -> torch.Tensor:
        made = embed_rows(model, batch, options)
        made[[key == "toy-5" for key in batch.keys], 2] = float("nan")
        return made

    monkeypatch.setattr("pearl_train.objectives.target_cache.embed_rows", spoilt)
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    with pytest.raises(BadInput, match=r"NaN or infinity for toy-5 in \S+; .*pearl-train doctor"):
        fill(cache, network, batches(), FROZEN)
    assert cache.missing(RECORDS) == ["toy-4", "toy-5"], "its batch; the one before is kept"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, BadInput, MemoryError])
def test_what_was_made_is_kept_whatever_stops_the_rest(
    stop: type[BaseException], tmp_path: Path
) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)

    def tell(done: int) -> None:
        raise stop("now")

    with pytest.raises(stop):
        fill(cache, network, batches(), FROZEN, tell=tell)
    again = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    assert again.missing(RECORDS) == ["toy-4", "toy-5"]


def test_ctrl_c_while_targets_are_written_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(file: WholeFile, data: bytes) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(file, data)

    write = WholeFile.write
    monkeypatch.setattr(WholeFile, "write", disturbed)
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, network, batches()[:1], FROZEN)
    again = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    assert again.missing(RECORDS) == ["toy-4", "toy-5"]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_became_of_samples_is_kept_with_their_targets(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    tally = Tally()
    tally.change("toy-0", "downscaled")
    tally.change("toy-0", "max-pixels")
    tally.drop(Dropped("toy-5", "shard", "text-too-long", "9 tokens, of 8"))
    plan = target_plan(FROZEN.objective)
    assert fill(cache, network, [toy_batch(SAMPLES[:5], plan)], FROZEN, tally=tally) == 5
    again = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    assert again.missing(RECORDS) == [], "it is known that toy-5 has none"
    assert again.outcomes(RECORDS) == {
        "toy-0": Outcome(changes=("downscaled", "max-pixels")),
        "toy-5": Outcome("text-too-long", "9 tokens, of 8"),
    }
    with pytest.raises(BadInput, match="got none for toy-5"):
        again(batches()[1])


def test_samples_without_a_target_are_kept_where_no_other_is_made(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    tally = Tally()
    for key in RECORDS:
        tally.drop(Dropped(key, "shard", "too-long"))
    assert fill(cache, network, [], FROZEN, tally=tally) == 0
    assert TargetCache(tmp_path, cache.identity, RECORDS).missing(RECORDS) == []


def test_a_batch_of_which_some_is_there_gives_the_rest_as_the_whole_does(tmp_path: Path) -> None:
    """A target is the same to the last bit whatever was made before."""
    network = backbone()
    whole = TargetCache(tmp_path / "whole", target_identity(network, FROZEN), RECORDS)
    fill(whole, network, batches(), FROZEN)
    part = TargetCache(tmp_path / "part", whole.identity, RECORDS)
    part.add(["toy-1"], torch.ones(1, whole(batches()[0]).shape[1]))
    assert fill(part, network, batches(), FROZEN) == 5
    for batch in batches():
        other = torch.tensor([key != "toy-1" for key in batch.keys])
        assert torch.equal(part(batch)[other], whole(batch)[other])
    assert bool((part(batches()[0])[1] == 1).all()), "and what was there stays"


@pytest.mark.parametrize("links", [True, False])
def test_runs_share_what_they_make_and_keep_their_own(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError("Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    network, shared = backbone(), tmp_path / "shared"
    identity = target_identity(network, FROZEN)
    one, two = (
        TargetCache(tmp_path / name, identity, RECORDS, shared=shared) for name in ("one", "two")
    )
    fill(one, network, batches()[:1], FROZEN)
    two.borrow(RECORDS)
    assert two.missing(RECORDS) == ["toy-4", "toy-5"]
    # both make the rest at once
    fill(one, network, batches()[1:], FROZEN)
    fill(two, network, batches()[1:], FROZEN)
    assert len(list(shared.iterdir())) == 2
    for file in [*shared.iterdir()]:
        file.unlink()
    alone = TargetCache(tmp_path / "two", identity, RECORDS)
    for batch in batches():
        assert torch.equal(alone(batch), one(batch))


def test_two_who_write_the_same_file_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    write = WholeFile.write

    def beside(file: WholeFile, data: bytes) -> None:
        write(file, data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WholeFile, "write", write)
            other = TargetCache(tmp_path, cache.identity, RECORDS)
            fill(other, network, batches()[:1], FROZEN)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WholeFile, "write", beside)
        fill(cache, network, batches()[:1], FROZEN)
    assert [path.name.startswith("targets-") for path in tmp_path.iterdir()] == [True]


def test_a_shared_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"objective\.target\.cache: expected a folder, got .*file"
    ):
        shared_folder(tmp_path / "file", {})


def test_a_long_wait_is_written_down_in_between(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    fill(cache, network, batches(), FROZEN, most_s=0)
    assert len(list(tmp_path.iterdir())) == 2


def test_pixels_that_are_no_numbers_are_blamed_for_their_targets(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    spoilt = batches()[:1]
    for tensor in spoilt[0].images.values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    with pytest.raises(BadInput, match=r"toy-0 in .*image_std"):
        fill(cache, network, spoilt, FROZEN)


def test_stored_targets_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    with pytest.raises(BadInput, match="expected finite cached targets"):
        cache.add(["toy-0"], torch.full((1, 4), float("inf")))


def test_a_batch_that_lost_its_target_view_is_refused(tmp_path: Path) -> None:
    network = backbone()
    cache = TargetCache(tmp_path, target_identity(network, FROZEN), RECORDS)
    with pytest.raises(ValueError, match="expected a batch with the target view"):
        fill(cache, network, [replace(batches()[0], target=None)], FROZEN)
