"""The training loop: steps, learning rate, checkpoints and best weights."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import CorpusError, ModelError
from ettin_cli.models.engines import TokenIds, free_memory, is_out_of_memory
from ettin_cli.records import Pair, Reporter
from ettin_cli.training.batches import WINDOW, Read, Step, bounded, steps
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.interrupts import Interrupts
from ettin_cli.training.losses import total_loss
from ettin_cli.training.processes import Processes
from ettin_cli.training.progress import Measure, Progress
from ettin_cli.training.recipe import MOST_GRADIENT, WARM_UP, Recipe, rate_at
from ettin_cli.training.student import Student
from ettin_cli.training.windows import TrainingData

if TYPE_CHECKING:
    import torch

# Steps between two measurements, at least.
LEAST_BETWEEN = 10
# Weight of the newest step in the displayed loss.
NEWEST = 0.05


class Loop:
    """Trains a student, starting from the last checkpoint.

    Args:
        recipe: A completed recipe.
        facts: The values that must match the checkpoint.
        checkpoint_s: Seconds between checkpoints; 0: after every step.

    Raises:
        OutputError: The checkpoint was made from other data or with other options.
    """

    def __init__(
        self,
        student: Student,
        data: TrainingData,
        recipe: Recipe,
        folder: ModelFolder,
        facts: Mapping[str, object],
        *,
        measure: Measure | None,
        checkpoint_s: float,
        reporter: Reporter,
        processes: Processes,
    ) -> None:
        import torch

        assert recipe.batch_size and recipe.learning_rate
        self.student, self.data, self.recipe = student, data, recipe
        self.folder, self.facts, self.measure = folder, facts, measure
        self.checkpoint_s, self.reporter, self.processes = checkpoint_s, reporter, processes
        self.rows, self.learning_rate = recipe.batch_size, recipe.learning_rate
        self.epoch_steps = -(-len(data) // self.rows)
        bounds = [recipe.steps, recipe.epochs and recipe.epochs * self.epoch_steps]
        self.total = min((bound for bound in bounds if bound), default=None)
        self.weights = list(student.trained.values())
        self.optimizer = torch.optim.AdamW(self.weights, lr=self.learning_rate, weight_decay=0.0)
        self.progress = Progress(student.placement.batch_tokens)
        if not processes.main:
            # Same initial weights in every process, different dropout masks.
            torch.manual_seed(recipe.seed + processes.rank)
        self._restore()
        processes.align(self.weights)

    def _restore(self) -> None:
        """Resume from the last checkpoint, if there is one."""
        checkpoint = self.folder.last(self.facts)
        if checkpoint is not None:
            self.load(checkpoint["weights"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            # Checkpoints of older versions lack the key.
            states = [checkpoint["random"], *checkpoint.get("others", ())]
            if self.processes.rank < len(states):
                device = self.student.placement.device
                _set_random_state(states[self.processes.rank], device)
            self.progress = Progress(**checkpoint["progress"])
            message = f"resuming after step {self.progress.step:,}"
            if len(states) != self.processes.size:
                now = self.processes.size
                message += f" with a different number of processes: {now}, not {len(states)}"
            self.reporter.notice(message)
        elif self.folder.resume:
            self.reporter.notice(
                f"no checkpoint in {self.folder.partial}, starting from the beginning"
            )
        if self.processes.main:
            with self.folder.metrics.open("ab") as file:
                file.truncate(self.progress.metrics_bytes)

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load weights into the student."""
        import torch

        with torch.no_grad():
            for name, weight in self.student.trained.items():
                weight.copy_(weights[name])

    def run(self) -> Progress:
        """Train to the end, and return the progress.

        Raises:
            CorpusError: Rows of a dataset cannot be read; a checkpoint has been written.
            ModelError: The loss is not finite, or an example does not fit into GPU memory.
        """
        began = self.share
        if began < 1:
            epoch, step = divmod(self.progress.step, self.epoch_steps)
            size = self.rows * WINDOW
            self.data.prepare(step // WINDOW, size, self.recipe.seed, epoch)
        self.marked, self.saved = time.monotonic(), self.progress.seconds
        metrics = self.folder.metrics if self.processes.main else Path(os.devnull)
        interrupts = Interrupts(launched=self.processes.size > 1)

        def share() -> float:
            """Return the share of this process's work that is done."""
            return (self.share - began) / (1 - began) if began < 1 else 1.0

        track = self.reporter.track("training", None, "pairs", share, note=self._progress_note)
        with metrics.open("ab") as self.file, interrupts as self.interrupts:
            self.student.between = self.interrupts.check
            if self.processes.size == 1:
                # The weights are whole. Of several processes, others may not be waiting.
                self.data.between = self.interrupts.check
            with track as advance:
                try:
                    self._train(advance)
                except (KeyboardInterrupt, SystemExit):
                    if not self.interrupts.at_once:
                        self._checkpoint()
                    raise
        return self.progress

    def _train(self, advance: Callable[[int], None]) -> None:
        waiting = self._steps()
        self.student.model.train()
        while True:
            self._measure()
            if self.share >= 1:
                return
            step = self._next(waiting)
            noted = self._learn(step)
            advance(sum(len(item.tokens) for item in step))
            if self.progress.seconds - self.saved >= self.checkpoint_s:
                self._checkpoint()
            self.interrupts.heed(noted)

    def _next(self, waiting: Iterator[Step]) -> Step:
        """Return the next step; a checkpoint is written if its rows cannot be read."""
        try:
            return next(waiting)
        except CorpusError as error:
            # Other processes may not have failed, and would not take part.
            if self.progress.step and self.processes.size == 1:
                self._checkpoint()
                error.fields["partial"] = self.folder.partial
            raise

    @property
    def share(self) -> float:
        """The share of the run that is done, by the nearest bound."""
        by_steps = self.progress.step / self.total if self.total else 0.0
        hours = self.recipe.hours
        return min(1.0, max(by_steps, self.progress.seconds / (hours * 3600) if hours else 0.0))

    def _middle(self) -> float:
        """Return the share of the run at the middle of the next step.

        At the middle neither the first nor the last step has learning rate 0. The duration of the
        first step is not known yet.
        """
        done = self.progress
        by_steps = (done.step + 0.5) / self.total if self.total else 0.0
        mean = done.seconds / done.step if done.step else 0.0
        hours = self.recipe.hours
        by_hours = (done.seconds + mean / 2) / (hours * 3600) if hours else 0.0
        return max(by_steps, by_hours) or WARM_UP / 2

    def _steps(self) -> Iterator[Step]:
        epoch, begin = divmod(self.progress.step, self.epoch_steps)
        while True:
            seed = self.recipe.seed
            yield from steps(self.data, self._read, self.rows, seed, epoch, begin)
            epoch, begin = epoch + 1, 0

    def _read(self, pairs: Sequence[Pair]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return what `Student.read` does; of several processes, each tokenizes a part."""
        rank, size = self.processes.rank, self.processes.size
        tokens: list[Any] = [None] * len(pairs)
        cut = [False] * len(pairs)
        parts = self.processes.gather(self.student.read(pairs[rank::size]))
        for number, (some, flags) in enumerate(parts):
            tokens[number::size], cut[number::size] = some, flags
        return tokens, cut

    def _progress_note(self) -> str:
        loss = self.progress.loss
        return "" if loss is None else f"loss {loss:.4g}"

    def _learn(self, step: Step) -> Sequence[int | None]:
        """Update the weights by one step, record metrics, and return the signals received."""
        import torch

        rate = self.learning_rate * rate_at(self._middle())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients(step)
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, MOST_GRADIENT))
        if not (abs(loss) < float("inf") and norm < float("inf")):
            raise self._diverged()
        self._update()
        now, done = time.monotonic(), self.progress
        gathered = self.processes.gather((now - self.marked, self.interrupts.noted))
        done.seconds, self.marked = done.seconds + gathered[0][0], now
        done.step += 1
        done.pairs += sum(len(item.tokens) for item in step)
        done.cut += sum(item.cut for item in step)
        done.rejected += step.rejected
        done.first_loss = loss if done.first_loss is None else done.first_loss
        done.loss = loss if done.loss is None else done.loss + NEWEST * (loss - done.loss)
        self._note(loss=loss, learning_rate=rate, gradient_norm=norm)
        return [noted for _, noted in gathered]

    def _update(self) -> None:
        try:
            self.optimizer.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                "the optimizer's two values per weight do not fit in GPU memory",
                code="training-out-of-memory",
            ) from error

    def _gradients(self, step: Sequence[Read]) -> float:
        """Compute a step's gradients and return its loss, halving batches that do not fit."""
        device = self.student.placement.device
        state = _random_state(device)
        while True:
            own = self._that_fits(step)
            noted, losses = zip(*self.processes.gather((self.interrupts.noted, own)), strict=True)
            if noted == (None,) * len(noted) and None not in losses:
                self.processes.add_up(self.weights)
                return float(sum(losses))
            # The step is repeated, here or after resuming.
            _set_random_state(state, device)
            self.interrupts.heed(noted)
            self._halve(step)

    def _that_fits(self, step: Sequence[Read]) -> float | None:
        """Return the loss of this process's part of a step; None if it does not fit in memory."""
        try:
            return self._accumulated(step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _accumulated(self, step: Sequence[Read]) -> float:
        """Return the loss of this process's part of a step, stopping early on a signal.

        The rows of a step are sorted by length, so the parts are of similar size.
        """
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        losses: list[torch.Tensor] = []
        part = step[self.processes.rank :: self.processes.size]
        for batch in bounded(part, self.progress.batch_tokens):
            if self.interrupts.noted is not None:
                break
            scores = self.student.forward([tokens for item in batch for tokens in item.tokens])
            examples = [item.example for item in batch]
            loss = total_loss(scores, examples, self.recipe.loss) / len(step)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        # Fetched together, since a GPU would wait for each.
        return sum(torch.stack(losses).tolist()) if losses else 0.0

    def _halve(self, step: Sequence[Read]) -> None:
        batches = list(bounded(step, self.progress.batch_tokens))
        if all(len(batch) == 1 for batch in batches):
            most = max(step, key=lambda item: item.longest * len(item.tokens))
            raise ModelError(
                f"a query with {len(most.tokens)} texts of up to {most.longest} tokens does not "
                "fit in GPU memory",
                code="training-out-of-memory",
                texts=len(most.tokens),
                tokens=most.longest,
            )
        self.optimizer.zero_grad(set_to_none=True)
        free_memory(self.student.placement.device)
        self.progress.batch_tokens //= 2
        self.reporter.notice("out of GPU memory; halving the batches")

    def _diverged(self) -> ModelError:
        return ModelError(
            f"the loss is not finite at step {self.progress.step + 1:,}",
            code="training-diverged",
            learning_rate=self.learning_rate,
            partial=self.folder.partial if self.folder.unfinished else None,
        )

    def _measure(self) -> None:
        """Measure the student after each further part of the run, and keep the best weights."""
        progress = self.progress
        done = int(self.share * self.recipe.measurements + 1e-9)
        last = progress.measured_step
        soon = last is not None and progress.step - last < LEAST_BETWEEN and self.share < 1
        if self.measure is None or done <= progress.measured or soon:
            return
        measure = self.measure
        value = self.processes.on_main(lambda: measure.of(self.student))
        progress.measured, progress.measured_step = done, progress.step
        progress.before = value if progress.before is None else progress.before
        if progress.best is None or value > progress.best:
            self.processes.on_main(lambda: self.folder.keep_best(self._weights()))
            progress.best, progress.best_step = value, progress.step
        self.reporter.notice(f"step {progress.step:,}: {self.measure.metric} {value:.4f}")
        self._note(**{self.measure.metric: value})

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().cpu() for name, weight in self.student.trained.items()}

    def _note(self, **values: float) -> None:
        """Append a line to the metrics."""
        done = self.progress
        epoch = round(done.step / self.epoch_steps, 4)
        seconds = round(done.seconds, 1)
        line = {"step": done.step, "epoch": epoch, "pairs": done.pairs, "seconds": seconds}
        self.file.write(json.dumps({**line, **values}).encode() + b"\n")
        self.file.flush()

    def _checkpoint(self) -> None:
        own, *others = self.processes.gather(_random_state(self.student.placement.device))

        def write() -> None:
            self.progress.metrics_bytes = self.file.tell()
            state = {
                "progress": asdict(self.progress),
                "weights": self._weights(),
                "optimizer": self.optimizer.state_dict(),
                "random": own,
                "others": others,
            }
            self.folder.checkpoint(state, self.facts)

        self.processes.on_main(write)
        self.saved = self.progress.seconds


def _random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of the generators that a process on this device uses."""
    import torch

    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["device"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["device"] = torch.mps.get_rng_state()
    return state


def _set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Set the states of the generators, as far as the checkpoint has them for such a device."""
    import torch

    torch.set_rng_state(state["cpu"])
    own = state.get("device")
    if own is None and device.type == "cuda":
        # Older versions stored the states of all GPUs that their process saw.
        own = dict(enumerate(state.get("cuda", ()))).get(device.index or 0)
    if own is None:
        return
    if device.type == "cuda" and len(own) == len(torch.cuda.get_rng_state(device)):
        torch.cuda.set_rng_state(own, device)
    elif device.type == "mps" and len(own) == len(torch.mps.get_rng_state()):
        torch.mps.set_rng_state(own)
