"""Our keys for options of other trainers (peft, transformers, TRL, LLaMA-Factory).

They serve hints only: an unknown key is never accepted as another. If the meaning differs, the hint
says how.
"""

from __future__ import annotations

_MICRO = "optim.micro_batch, samples per forward pass of one process"
_BATCH = "optim.batch, samples per step over all processes; the rest follows"

ELSEWHERE: dict[str, str] = {
    # peft
    "r": "model.lora.rank",
    "lora_r": "model.lora.rank",
    "lora_rank": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "lora_dropout": "model.lora.dropout",
    "target_modules": "model.lora.targets, one regular expression over module names",
    "lora_target": "model.lora.targets, one regular expression over module names",
    "lora_target_modules": "model.lora.targets, one regular expression over module names",
    "use_peft": "model.lora.rank",
    # optimizer
    "learning_rate": "optim.lr",
    "lr_scheduler_type": "optim.schedule",
    "lr_scheduler": "optim.schedule",
    "warmup_ratio": "optim.warmup, a share of the steps",
    "warmup_steps": "optim.warmup, a share of the steps",
    "max_steps": "optim.steps",
    "num_steps": "optim.steps",
    "num_train_epochs": "optim.steps; an epoch is samples / optim.batch steps",
    "epochs": "optim.steps; an epoch is samples / optim.batch steps",
    "per_device_train_batch_size": _MICRO,
    "per_device_batch_size": _MICRO,
    "micro_batch_size": _MICRO,
    "gradient_accumulation_steps": _BATCH,
    "grad_accum": _BATCH,
    "train_batch_size": _BATCH,
    "global_batch_size": _BATCH,
    "batch_size": _BATCH,
    "max_grad_norm": "optim.clip",
    "grad_clip": "optim.clip",
    "adam_beta1": "optim.betas, two numbers",
    "adam_beta2": "optim.betas, two numbers",
    "wd": "optim.weight_decay",
    # model
    "model_name_or_path": "model.id",
    "model_name": "model.id",
    "model_id": "model.id",
    "model_revision": "model.revision",
    "torch_dtype": "model.dtype",
    "bf16": 'model.dtype = "bfloat16"',
    "fp16": 'model.dtype = "bfloat16"',
    "precision": "model.dtype",
    "attn_implementation": "model.attention",
    "flash_attn": "model.attention",
    "gradient_checkpointing": "model.checkpoint_activations",
    "freeze_vision_tower": "model.freeze_vision",
    "freeze_vision_modules": "model.freeze_vision",
    "image_max_pixels": "model.max_pixels",
    # data
    "max_seq_length": "data.max_tokens",
    "max_seq_len": "data.max_tokens",
    "max_length": "data.max_tokens",
    "model_max_length": "data.max_tokens",
    "cutoff_len": "data.max_tokens",
    "dataset_train_split": "data.split",
    "system_prompt": "data.system",
    "num_workers": "data.workers",
    "dataloader_num_workers": "data.workers",
    # the rest of a run
    "logging_steps": "log.every",
    "report_to": "log.wandb and log.tensorboard",
    "use_wandb": "log.wandb",
    "save_steps": "checkpoint.every",
    "save_total_limit": "checkpoint.keep_last",
    "load_best_model_at_end": "checkpoint.keep_best; pearl-train export --checkpoint best",
    "deepspeed": 'parallel = "fsdp2"',
    "fsdp": 'parallel = "fsdp2"',
    "random_seed": "seed",
    "data_seed": "seed",
    "eval_split": "evaluate.split",
    "max_completion_length": "evaluate.max_new_tokens",
    "max_tokens_to_generate": "evaluate.max_new_tokens",
    # the paper and its release
    "lambda": "objective.weight",
    "lambda_jepa": "objective.weight",
    "jepa_weight": "objective.weight",
    "k": "objective.pred_tokens",
    "num_pred_tokens": "objective.pred_tokens",
    "ema": 'objective.target.source = "ema"',
    "momentum": "objective.target.ema_decay",
    "ema_momentum": "objective.target.ema_decay",
    # options of the command line
    "output_dir": "--out",
    "dataset": "--data",
    "dataset_name": "--data",
    "resume_from_checkpoint": "--resume",
}
"""Their name -> our key, then, after a comma or semicolon, the difference."""


def ours(name: str) -> str | None:
    """Our key for another trainer's ``name``, ignoring case and dashes.

    >>> ours("Learning-Rate")
    'optim.lr'
    """
    return ELSEWHERE.get(name.lower().replace("-", "_"))
