"""One stretch of a run: updates, and between them metrics, panels, validation and checkpoints.

:func:`fit` knows nothing of shards, processors or objectives: it drives what it is given, so tests
drive it with a toy. A run that stops for any reason and is resumed ends with the same weights,
moments and ``metrics.jsonl``, bit for bit, as one that never stopped: all state is the step number
and what a checkpoint holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import Any

import torch

from pearl_data.terminated import on_interrupt, taking_time
from pearl_tools.errors import BadInput, PearlError, listed
from pearl_train.errors import CannotWrite, Collapsed, Diverged, RunInterrupted
from pearl_train.model.load import not_finite
from pearl_train.run.folder import RunFolder
from pearl_train.run.going_on import after_divergence, after_full_disk
from pearl_train.run.metrics import PANEL, Metrics, Window
from pearl_train.run.narrator import Narrator
from pearl_train.run.result import RunResult
from pearl_train.run.undisturbed import undisturbed
from pearl_train.settings.config import Config
from pearl_train.training.at_checkpoint import weights_for
from pearl_train.training.checkpoint import (
    Checkpoint,
    Snapshot,
    newest_whole,
    prune,
    sweep,
    write_checkpoint,
)
from pearl_train.training.collapse import SPAN
from pearl_train.training.ingredients import Ingredients, Watcher
from pearl_train.training.interrupt import StopRequest, UpdateAborted, catch_stop_request
from pearl_train.training.loader import end_workers
from pearl_train.training.optim import learning_rate, make_optimizer, set_learning_rate
from pearl_train.training.pace import Pace
from pearl_train.training.processes import (
    accelerator_for,
    deterministic,
    first_process,
    from_all,
    prepare,
    said_by_first,
    unsharded,
)
from pearl_train.training.state import (
    TrainingState,
    capture,
    frozen_fingerprint,
    kept_names,
    restore,
)
from pearl_train.training.update import Machine, Update, evaluate_loss, update
from pearl_train.training.watching import Watching, see_before_training
from pearl_train.views.batch import Batch


def fit(
    ingredients: Ingredients,
    config: Config,
    folder: RunFolder,
    *,
    resume: bool = False,
    progress: bool = True,
    accelerator: Any = None,
    began: Callable[[int], None] | None = None,
) -> RunResult:
    """Train ``ingredients.trainee`` until ``config.optim.steps`` updates are done.

    With ``resume`` the newest whole checkpoint in ``folder`` is the start; without one, or without
    ``resume``, the beginning. ``began`` is told at which step. Raises ``RunInterrupted`` after a
    checkpoint was written, and ``Diverged`` or ``Collapsed`` naming what to do; a ``Diverged`` run
    that is resumed comes to the same point.
    """
    with ExitStack() as stack:
        if not torch.cuda.is_available():
            stack.enter_context(deterministic())
        stop_request = stack.enter_context(catch_stop_request())
        session = _Session(
            ingredients,
            config,
            folder,
            stop_request,
            accelerator=accelerator or accelerator_for(config),
            progress=progress,
        )
        stack.callback(session.close)
        session.start(resume=resume)
        if began:
            began(session.step)
        try:
            return session.run()
        except (Exception, KeyboardInterrupt) as error:
            with undisturbed(), suppress(CannotWrite):  # what was measured until then is worth it
                session.leave()
            if isinstance(error, CannotWrite):
                raise CannotWrite(error.what, remedy=after_full_disk(folder)) from error
            if isinstance(error, Diverged):
                remedy = after_divergence(folder, config, session.step)
                raise Diverged(error.what, remedy=remedy) from error
            raise


class _Session:
    """One stretch of a run in one process: from a start or a checkpoint to its end or a stop."""

    def __init__(
        self,
        ingredients: Ingredients,
        config: Config,
        folder: RunFolder,
        stop_request: StopRequest,
        *,
        accelerator: Any,
        progress: bool,
    ) -> None:
        self.parts, self.config, self.folder, self.stop_request = (
            ingredients,
            config,
            folder,
            stop_request,
        )
        self.accelerator = accelerator
        self.main = bool(self.accelerator.is_main_process)
        self.kept = kept_names(ingredients.trainee)
        whole = ingredients.trainee.state_dict()
        self.shapes = {name: tuple(whole[name].shape) for name in sorted(self.kept)}
        self.base = frozen_fingerprint(ingredients.trainee)
        optimizer = make_optimizer(ingredients.trainee, config.optim)
        self.trained = sum(p.numel() for g in optimizer.param_groups for p in g["params"])
        model, prepared = prepare(accelerator, ingredients.trainee, optimizer)
        self.machine = Machine(
            accelerator=self.accelerator,
            model=model,
            optimizer=prepared,
            seed=config.seed,
            clip=config.optim.clip,
            targets=ingredients.targets,
        )
        #: one of several processes cannot leave the others in an exchange
        self.alone = self.machine.world == 1
        self.step = 0
        self.saved = -1
        self.unvalidated = False
        self.samples = self.tokens = self.refused = 0
        self.window = Window()
        self.losses: dict[str, float] = {}
        self.best: float | None = None
        self.warned: list[str] = []
        self.metrics: Metrics | None = None
        self.narrator = Narrator(silent=not self.main, progress=progress)
        self.pace = Pace()
        self.rates: dict[str, float] = {}

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The bare optimizer."""
        found = self.machine.optimizer
        return getattr(found, "optimizer", found)  # type: ignore[no-any-return]

    def start(self, *, resume: bool) -> None:
        """Take up the newest whole checkpoint, or begin; open the files."""
        kept_bytes = 0
        if self.main:
            self.folder.checkpoints.mkdir(parents=True, exist_ok=True)
            sweep(self.folder.checkpoints)
        self.accelerator.wait_for_everyone()
        if said := unsharded(self.config, self.accelerator):
            self.narrator.note(said)
        found = newest_whole(self.folder.checkpoints, self.narrator.note) if resume else None
        if found:
            kept_bytes = self._restore(found)
        if self.main:
            self.metrics = Metrics(self.folder, self.config, start=self.step, kept_bytes=kept_bytes)
        self.narrator.begin(self.config.optim.steps, self.step)

    def run(self) -> RunResult:
        """All updates that are left."""
        began, tokens_before = time.monotonic(), self.tokens
        with nullcontext() if self.alone else taking_time():
            try:
                self._steps()
            except UpdateAborted:
                self._stop()
            except (RuntimeError, ConnectionError, EOFError) as error:
                # a worker that dies while it sends a batch cuts the connection instead
                if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                    raise
                msg = (
                    f"step {self.step}: a worker of the data loader died, often for lack of "
                    f"memory ({error}); resume with fewer data.workers, or 0: pearl-train run "
                    f"--resume {self.folder.path}"
                )
                raise PearlError(msg) from error
            finally:
                end_workers()
        return self._result(time.monotonic() - began, self.tokens - tokens_before)

    def _steps(self) -> None:
        options = self.config.optim
        if self.unvalidated:  # the validation was interrupted
            self._validate_and_save()
        self.machine.model.train()
        stream = self.parts.batches(self.step)
        self.pace = Pace()
        while self.step < options.steps:
            with self.pace.waiting(), self.stop_request.abortable(allowed=self.alone):
                micro_batches = next(stream)
            done = self._update(micro_batches)
            last = self.step == options.steps
            if last or self.step % self.config.log.every == 0:
                self._write_line()
            if last or self.step % self.config.checkpoint.every == 0:
                with self.pace.outside():
                    self._validate_and_save()
            if done.refused:
                self._look_at_refused()
            if done.stop and not last:
                self._stop()

    def _update(self, micro_batches: Sequence[Batch]) -> Update:
        """One update with its panel, its values and its line."""
        step, panel = self.step, self.parts.panel
        every, last = self.config.log.panel_every, self.config.optim.steps - 1
        due = panel is not None and (step % every == 0 or step == last)
        rate = learning_rate(self.config.optim, step)
        set_learning_rate(self.optimizer, rate)
        moment = self.parts.moment(step)

        near = min(-step % every, last - step) < SPAN  # older views are forgotten anyway
        watching = Watching(self.machine, panel, gradients=due) if panel and near else None
        if panel and not step:
            later = partial(self.parts.batches, 1)
            with self.pace.outside(), self.stop_request.abortable(allowed=self.alone):
                see_before_training(self.machine, panel, micro_batches, later, moment)
        met = self.parts.left_out is not None and len(self.parts.left_out.refused) != self.refused
        with self.stop_request.abortable(allowed=self.alone):
            done = update(
                self.machine,
                micro_batches,
                moment,
                stop=self.stop_request.stop,
                refused=met,
                look=watching,
                before_change=self.stop_request.keep,
            )
        if watching:
            watching.share()
        self.parts.after_update()
        self.step += 1
        self.samples += done.samples
        self.tokens += done.tokens
        self.window.add(done.values)
        self.pace.add(done)
        if due and panel:
            self._panel(step, panel)
        # rates of the last whole stretch jump less than those of a new one
        self.narrator.step({**done.values, "lr": rate}, self.rates or self.pace.rates())
        return done

    def _panel(self, step: int, panel: Watcher) -> None:
        """Write the panel's values; warn, or stop, if they show a collapse."""
        values, warning = panel.report()
        # all have judged the same samples; should machines round differently, the first decides
        warning, collapsed = said_by_first(self.accelerator, (warning, panel.collapsed))
        if self.metrics and values:
            self.metrics.log(step, {PANEL + name: value for name, value in values.items()})
        self.narrator.panel(step, values)
        if not warning:
            return
        if self.config.log.on_collapse == "stop" and collapsed:
            with self.pace.outside():
                self._save(None)
            raise Collapsed(f"step {step}: {warning}")
        if warning not in self.warned:
            self.warned.append(warning)
            self.narrator.note(f"warning: step {step}: {warning}")

    def _write_line(self) -> None:
        """The means since the last line, where the run stands, and how fast it went."""
        self.losses = self.window.means()
        self.window = Window()
        if self.metrics:
            rate = learning_rate(self.config.optim, self.step - 1)
            standing = {"lr": rate, "samples": self.samples, "tokens": self.tokens}
            self.metrics.log(self.step, {**self.losses, **standing})
            self.metrics.timing(self.step, self.pace.rates())
        self.rates, self.pace = self.pace.rates(), Pace()

    def _validate_and_save(self) -> None:
        """Measure the validation split, if there is one; write a checkpoint."""
        loss, values = None, {}
        if self.parts.validation:
            self.unvalidated = True
            with self.stop_request.abortable(allowed=self.alone):
                values = evaluate_loss(self.machine, self.parts.validation(), self.step)
            self.unvalidated = False
        if values:
            loss = values["loss"]
            self.best = loss if self.best is None else min(self.best, loss)
            if self.metrics:
                named = {f"validation/{name}": value for name, value in values.items()}
                self.metrics.log(self.step, named)
        self._save(loss)

    def _save(self, validation: float | None) -> None:
        """Write a checkpoint and remove those no longer kept; raises ``Diverged`` rather than keep
        weights that are no numbers.
        """
        if self.saved == self.step:
            return
        with taking_time():
            self._write_checkpoint(validation)

    def _write_checkpoint(self, validation: float | None) -> None:
        state = capture(self.machine.model, self.optimizer, self.kept)
        # all processes stop for what the first one holds: it alone has every weight whole
        if broken := said_by_first(self.accelerator, not_finite(state.weights)):
            raise Diverged(
                f"step {self.step}: expected finite weights after the update, got NaN or infinity "
                f"in {listed(broken)}; no checkpoint of them is written"
            )
        left_out = self._left_out()
        panel_tensors, panel_state = self.parts.panel.state() if self.parts.panel else ({}, {})

        def write() -> None:
            if self.metrics is None:
                return
            snapshot = Snapshot(
                step=self.step,
                tensors={
                    "weights": state.weights,
                    "moments": state.moments,
                    "panel": panel_tensors,
                },
                state={
                    "step": self.step,
                    "samples": self.samples,
                    "tokens": self.tokens,
                    "window": self.window.state(),
                    "losses": self.losses,
                    "best": self.best,
                    "metrics_bytes": self.metrics.durable_bytes(),
                    "groups": state.groups,
                    "base": self.base,
                    "panel": panel_state,
                    "left_out": left_out,
                    "unvalidated": self.unvalidated,
                },
                validation=validation,
            )
            write_checkpoint(self.folder.checkpoints, snapshot, self.parts.beside_checkpoint)
            keep = self.config.checkpoint
            prune(self.folder.checkpoints, keep.keep_last, keep_best=keep.keep_best)

        first_process(write)
        self.saved = self.step
        self.accelerator.wait_for_everyone()

    def _left_out(self) -> dict[str, Any]:
        """The samples that all processes dropped or changed so far; shared by all processes."""
        counted = self.parts.left_out
        if counted is None:
            return {}
        for state in from_all(self.accelerator, counted.state()):
            counted.add(state)
        return counted.state()

    def _look_at_refused(self) -> None:
        """Report the samples that the model refused; raise ``BadInput`` if there are too many. All
        processes do so at the same step.
        """
        counted = self.parts.left_out
        if counted is None:
            return
        self._left_out()
        refused, told = counted.refused, self.refused
        self.refused = len(refused)
        if wrong := counted.too_many_refused():
            with self.pace.outside():
                self._save(None)
            raise BadInput(
                f"step {self.step}: {wrong}. Resume with: pearl-train run --resume "
                f"{self.folder.path} --set data.max_dropped_share=SHARE"
            )
        if len(refused).bit_length() > told.bit_length():  # the first, then as often as they double
            named = listed([f"{key} ({text})" for key, text in sorted(refused.items())])
            self.narrator.note(f"step {self.step}: refused by the model and dropped: {named}")

    def _restore(self, found: Checkpoint) -> int:
        """Take up ``found``; the length that metrics.jsonl had then."""
        state = found.state()
        weights = weights_for(
            found, base=self.base, kept=self.kept, shapes=self.shapes, config=self.config
        )
        groups = state["groups"]
        restored = TrainingState(weights=weights, moments=found.tensors("moments"), groups=groups)
        restore(self.machine.model, self.optimizer, restored)
        if self.parts.panel:
            self.parts.panel.restore(found.tensors("panel"), state["panel"])
        if self.parts.left_out:
            self.parts.left_out.add(state.get("left_out", {}))  # earlier releases kept none
        self.step = self.saved = found.step
        self.unvalidated = state.get("unvalidated", False)  # earlier releases kept none
        if self.unvalidated:
            self.saved = -1  # it is written again, with its validation
        self.samples, self.tokens = state["samples"], state["tokens"]
        self.window = Window(state["window"])
        self.losses, self.best = state["losses"], state["best"]
        self.narrator.note(f"resuming from {found.path}")
        return int(state["metrics_bytes"])

    def _stop(self) -> None:
        """Stop on request, in a state that can be resumed."""
        resume = f"pearl-train run --resume {self.folder.path}"
        if not self.step:
            raise RunInterrupted(
                f"interrupted before the first step: nothing is lost. Resume with: {resume}"
            )
        self.narrator.note(
            f"stopping after step {self.step}, with a checkpoint; a second Ctrl-C ends at once, "
            "without one"
        )
        with self.pace.outside():
            self._save(None)
        words = (
            f"interrupted after step {self.step} of {self.config.optim.steps}; a checkpoint is "
            f"written. Resume with: {resume}"
        )
        on_interrupt(words)
        raise RunInterrupted(words)

    def leave(self) -> None:
        """Write the updates since the last line; whoever resumes cuts that line off again."""
        if self.window.sums:
            self._write_line()

    def _result(self, seconds: float, tokens: int) -> RunResult:
        cuda = self.accelerator.device.type == "cuda"
        return RunResult(
            out=str(self.folder.path),
            objective=self.config.objective.name,
            model=self.config.model.id,
            steps=self.step,
            samples=self.samples,
            tokens=self.tokens,
            losses=self.losses,
            validation=self.best,
            trained_parameters=self.trained,
            processes=self.machine.world,
            device=str(self.accelerator.device),
            seconds=round(seconds, 3),
            tokens_per_s=round(tokens / max(seconds, 1e-9), 1),
            peak_memory_bytes=torch.cuda.max_memory_allocated() if cuda else None,
            warnings=self.warned,
        )

    def close(self) -> None:
        """Finish the line and the files."""
        self.narrator.close()
        if self.metrics:
            self.metrics.close()
