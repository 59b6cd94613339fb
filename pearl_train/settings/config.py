"""Every choice of a run, typed and strict: the TOML file, its presets' keys and their defaults.

One section per component. Reading, merging and reporting faults:
:mod:`pearl_train.settings.load`. Paper = arXiv 2604.08065; release = the authors' code.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

#: Bounds far beyond any use. They reject values that would exhaust memory or time with a named
#: error.
Steps = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Warmup = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=2**16)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=2**20)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Rank = Annotated[int, msgspec.Meta(ge=1, le=2**16)]
Few = Annotated[int, msgspec.Meta(ge=1, le=2**10)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Workers = Annotated[int, msgspec.Meta(ge=0, le=2**8)]
MOST_TOKENS = 16
"""[PRED] and pause tokens that every vocabulary gets, each: what can be asked for at most."""
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
"""Of a term of the loss. Bounds stand where float32, in which all is computed, would overflow."""

ObjectiveName = Literal["pearl", "sft", "lvr", "tools"]
OBJECTIVES: tuple[ObjectiveName, ...] = ("sft", "lvr", "pearl", "tools")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are refused."""


class LoraConfig(Section, frozen=True, kw_only=True):
    """Low-rank adapters on the language model's linear layers (the paper: r 64, alpha 128)."""

    rank: Rank = 64
    alpha: Rank = 128
    dropout: Share = 0.1
    targets: str | None = None
    """Regular expression over module names; by default every linear layer of the language model."""


class ModelConfig(Section, frozen=True, kw_only=True):
    """The network and what of it is trained."""

    id: str = "nano"
    """``nano`` (embedded), a folder, or a hub id of an image-text-to-text model."""
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights while training; with full fine-tuning the trained weights stay float32.
    Trained weights are stored and evaluated in float32: bfloat16 would lose small updates.
    ``--set model.dtype=bfloat16`` evaluates in bfloat16, in half the memory."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """Packed views need a mask per position, which these two take."""
    freeze_vision: bool = False
    checkpoint_activations: bool = False
    max_pixels: Pixels | None = None
    """Pictures with more pixels are made smaller, and counted: by the model's processor, whose own
    limit this replaces (Qwen), else before it sees them. An export keeps the limit."""
    lora: LoraConfig | None = None


class DataConfig(Section, frozen=True, kw_only=True):
    """What is read, and how it is put into words."""

    split: str = "train"
    system: str = ""
    """System message of every view and every objective; none if empty."""
    answers: Literal["text", "letter"] = "text"
    """Choices answered by their words, or by a letter in brackets."""
    max_tokens: Tokens = 4096
    """Longest view: the question with what follows it, or the trajectory by itself. [PRED], pause
    and latent tokens come on top, so that every objective has the same room."""
    too_long: Literal["drop", "downscale"] = "downscale"
    """Pictures are made smaller until the view fits, or the sample is dropped; both are counted.
    The question's own pictures are fitted to the question with its answer, for every objective."""
    max_dropped_share: Share = 0.01
    """Most samples of the split, as a share, that the model's processor or tokenizer may refuse;
    each is dropped and counted, and beyond this the run stops and names them. Those dropped by
    ``max_tokens`` are counted apart."""
    workers: Workers = 0
    allow_unfinished: bool = False
    """Read a data set before the run that writes it has ended."""


class TargetConfig(Section, frozen=True, kw_only=True):
    """What the prediction is compared with: h_R, the embedding of the trajectory view."""

    source: Literal["online", "ema", "frozen-base"] = "online"
    """The network itself (stop-gradient), its moving average, or the network before training. With
    ``ema`` prediction and target are both layer-normalised before any distance, else neither is."""
    read: Literal["last", "before-conclusion", "mean"] = "last"
    include_image: bool = False
    """Whether R holds I0 (the release: yes)."""
    include_answer: bool = True
    """Whether R holds the conclusion and the answer. False also leaves out the final thought."""
    wrong_steps: bool = False
    """Whether steps that the record marks as mistakes (``loss_mask`` 0) belong to R."""
    ema_decay: Share = 0.996
    cache: str | None = None
    """frozen-base only: a folder, which may be new, where runs share the targets they made. It says
    where, not what: a run keeps its own copy, resumes without it, and is the same with another."""


class NextLatConfig(Section, frozen=True, kw_only=True):
    """L_NextLat: a small head predicts the next hidden state (arXiv 2511.05963)."""

    cross_entropy: Weight = 0.0
    """Weight of the release's extra term: predicted states through a frozen copy of the LM head."""


class LvrConfig(Section, frozen=True, kw_only=True):
    """Latent reconstruction as published (arXiv 2509.24251)."""

    weight: Weight = 0.1
    latents: Few = 8
    """Latents fed back at inference."""
    max_latents: Tokens = 64
    """Most region tokens regressed in training (published: all); larger regions are thinned out
    evenly, and counted."""


class ObjectiveConfig(Section, frozen=True, kw_only=True):
    """L = L_VLM + weight * (L_JEPA + L_NextLat), its controls and its rivals."""

    name: ObjectiveName = "pearl"
    view: Literal["answer", "chat", "trajectory"] = "answer"
    """What L_VLM learns to write after the question: the answer at once; the expert's chat, whose
    last words are the answer (the paper and its release); or both, as two terms of weight 1."""
    weight: Weight = 0.2
    """lambda of the paper."""
    warmup: Warmup = 0
    """Steps over which lambda rises linearly."""
    pred_tokens: TokenCount = 4
    """K; 0 makes the predictor the identity."""
    pred: Literal["trained", "frozen"] = "trained"
    pred_position: Literal["last-pred", "end-of-question"] = "last-pred"
    """Where h_hat_R is read, and so where [PRED] tokens stand: behind the prompt, at the last of
    them (the paper), or at the end of the user's turn, at what closes it (the release)."""
    distance: Literal["cosine", "smooth-l1"] = "cosine"
    loss_dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """Share of steps without L_JEPA; lambda is divided by what remains (arXiv 2509.14252)."""
    variance_hinge: Weight = 0.0
    """This and the next compare the samples of a forward pass: ``optim.micro_batch`` 2 at least."""
    sigreg: Weight = 0.0
    stop_gradient: bool = True
    """False lets both views learn, which collapses: for the experiment that shows it."""
    pause_tokens: TokenCount = 0
    """sft only: tokens to think on between question and answer."""
    target: TargetConfig = TargetConfig()
    nextlat: NextLatConfig | None = NextLatConfig()
    """On by default, as in the paper; ``nextlat = "none"`` leaves it out (its ablation)."""
    lvr: LvrConfig = LvrConfig()


class OptimConfig(Section, frozen=True, kw_only=True):
    """AdamW, warm-up and cosine (or constant) learning rate."""

    steps: Steps = 300
    batch: Batch = 16
    """Samples per optimizer step, over all processes and accumulated micro-batches."""
    micro_batch: Batch = 16
    """Samples per forward pass of one process."""
    lr: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1e-3
    """Unless a file or an option gives it, it follows from the model: 1e-3 for nano and networks as
    small, 1e-5 for adapters on a pretrained model (the paper) and for full fine-tuning of one."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.05
    """Share of the steps."""
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = 1.0
    """Largest norm of a gradient; ``clip = "none"`` leaves gradients as they are."""


class LogConfig(Section, frozen=True, kw_only=True):
    """What is written while training."""

    every: Steps = 10
    panel_every: Steps = 50
    """Steps between collapse panels; the first is at step 0."""
    tensorboard: bool = True
    wandb: bool = False
    on_collapse: Literal["warn", "stop"] = "warn"


class CheckpointConfig(Section, frozen=True, kw_only=True):
    """Atomic checkpoints to resume from."""

    every: Steps = 100
    keep_last: Steps = 2
    keep_best: bool = True
    """Keep the checkpoint with the lowest loss on the validation split, where there is one."""


class EvaluateConfig(Section, frozen=True, kw_only=True):
    """How answers are decoded and judged."""

    split: str | None = None
    """Split to evaluate; all samples if not given."""
    max_new_tokens: Tokens = 24
    max_turns: Few = 6
    """tools only: most turns before a question counts as unanswered."""
    tool_turn_tokens: Tokens = 160
    """tools only: most tokens of one turn."""

    def longest_reply(self, objective: ObjectiveName) -> int:
        """Most tokens of a turn of a model of ``objective``; the limit in exports."""
        if objective == "tools":
            return max(self.max_new_tokens, self.tool_turn_tokens)
        return self.max_new_tokens


class Config(Section, frozen=True, kw_only=True):
    """A whole run."""

    seed: Seed = 0
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """How several processes share the work: each holds all weights, or a shard of them."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optim: OptimConfig = OptimConfig()
    log: LogConfig = LogConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
