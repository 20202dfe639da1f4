"""What a run will cost, before it is run: a few real training steps of each kind, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from idbounds.config import Config
from idbounds.core.errors import ConfigError, TrainingError
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors, train
from idbounds.measurement.trials import trial_model
from idbounds.preparation import load

#: Steps that are timed, after as many that are not: the first ones load code and fill memory. Batches differ in length,
#: so that fewer would say little.
STEPS = 6


@dataclass(frozen=True)
class Forecast:
    """One kind of trial: full fine-tuning (d = 0), or a subspace of the largest d."""

    method: str
    d: int
    trials: int
    steps: int
    seconds_a_step: float
    peak_bytes: int
    evaluation_seconds: float

    @property
    def hours(self) -> float:
        """Of all trials of this kind, one after another: training and counting errors."""
        return self.trials * (self.steps * self.seconds_a_step + self.evaluation_seconds) / 3600


def forecast(config: Config) -> list[Forecast]:
    """Memory and time of a run's trials, measured on this machine with the run's own model, data and settings.

    The peak is that of the whole process (on a CUDA device: of torch's memory on it), so it holds the libraries too.
    A subspace costs nearly the same whatever its d; the largest is measured.

    Raises:
        ConfigError: what the run itself would refuse, or a kind of trial that does not fit into memory.
    """
    # Moving θ₀ beforehand costs one more trial and changes no other's time.
    config = config.model_copy(update={"data": config.data.model_copy(update={"prefix_fraction": 0.0})})
    spec = load(config).spec
    keys = planned_keys(spec)
    found = []
    for d in (0, max(spec.menu.dims)):
        trials = sum(1 for key in keys if bool(key.d) == bool(d))
        method = next(key.method for key in keys if bool(key.d) == bool(d))
        seconds, evaluation, peak = _in_a_process(config, d)
        found.append(Forecast(method, d, trials, spec.training.steps, seconds, peak, evaluation))
    return found


def _in_a_process(config: Config, d: int) -> tuple[float, float, int]:
    """A fresh process, so that the peak is this trial's alone; `spawn`, because CUDA does not survive a fork."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, config, d))
    process.start()
    sender.close()
    try:
        answer: tuple[float, float, int] | str = receiver.recv()
    except EOFError:
        process.join()
        raise ConfigError(
            f"a trial with d = {d} did not survive its first steps (exit code {process.exitcode}; -9 is the system out of "
            'memory); set a smaller batch_size with micro_batch_size, a smaller max_length, or memory = "recompute"'
        ) from None
    process.join()
    if isinstance(answer, str):
        raise ConfigError(answer)
    return answer


def _report(sender: Connection, config: Config, d: int) -> None:
    try:
        sender.send(_measured(config, d))
    except (ConfigError, TrainingError) as error:
        sender.send(str(error))


def _measured(config: Config, d: int) -> tuple[float, float, int]:
    """(seconds a step, seconds of counting errors, peak bytes)."""
    run = load(config)
    task = task_by_name(run.spec.learning_task)
    model = trial_model(run.make_subspace, d=d, seed=run.spec.menu.seeds[0])
    ends: list[float] = []
    train(
        model,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        data=run.data["train"],
        learning_rate=1e-12,
        steps=2 * STEPS,
        seed=run.spec.menu.seeds[0],
        settings=run.spec.training.model_copy(update={"evaluate_every": None, "patience": None}),
        task=task,
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    start = time.perf_counter()
    count_errors(model, run.data["validation"], batch_size=run.spec.model.eval_batch_size, task=task)
    counting = time.perf_counter() - start
    share = (len(run.data["validation"]) + len(run.data["test"])) / len(run.data["validation"])
    return (ends[-1] - ends[STEPS - 1]) / STEPS, counting * share, peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held: torch's on the CUDA device where there is one, else the process's own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
