"""Executors: the same bits from each, and a lost worker costs a try, never a result."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_models import Bag
from small_runs import DATA, Killer, Recorder, runner_of, spec

from idbounds.core.errors import ConfigError
from idbounds.measurement.executors import InProcess, Processes
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.trials import SubspaceMaker, TrialRunner


def results(folder, executor, *, runner, reporter=None, retries=2):
    with TrialStore(folder) as store, executor:
        sweep = Sweep(runner.make_subspace, store=store, reporter=reporter or Recorder(), executor=executor, retries=retries)
        return sweep.run()


def numbers(trials):
    return [(trial.key, trial.test, trial.validation, trial.final_loss, trial.vector_sha256) for trial in trials]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What the trials give in this process."""
    runner = runner_of(spec())
    return numbers(results(tmp_path_factory.mktemp("alone"), InProcess(runner), runner=runner))


def test_processes_give_the_same_bits_and_a_killed_one_is_replaced(tmp_path, alone):
    runner = runner_of(spec())
    executor = Processes(runner, workers=2)
    killer = Killer(executor)
    trials = results(tmp_path, executor, runner=runner, reporter=killer)
    assert numbers(trials) == alone
    assert [trial.key for trial in trials if trial.attempts == 2] == [killer.killed]
    (failed,) = [trial for trial in killer.done if trial.status == "failed"]
    assert failed.key == killer.killed
    assert "its process ended with exit code -9" in failed.reason
    assert executor._workers == []


def test_a_trial_whose_process_dies_every_time_is_given_up(tmp_path):
    runner = TrialRunner(SubspaceMaker(Suicidal(), spec(), {}), DATA, threads=1)
    with TrialStore(tmp_path) as store, Processes(runner, workers=1) as executor:
        sweep = Sweep(runner.make_subspace, store=store, reporter=Recorder(), executor=executor, retries=1)
        (trial,) = sweep.complete(planned_keys(spec())[:1])
    assert (trial.status, trial.attempts) == ("failed", 2)


class Suicidal(Bag):
    """Ends its process when it is called in training, as the system does when memory is short."""

    def forward(self, input_ids, attention_mask):
        if self.training and multiprocessing.parent_process():  # in a worker, not in the test
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(input_ids, attention_mask)


class Refusing(Bag):
    """Raises what no other trial would escape."""

    def forward(self, input_ids, attention_mask):
        raise ConfigError("set another thing")


def test_a_wrong_setting_stops_the_sweep_with_its_own_words(tmp_path):
    runner = TrialRunner(SubspaceMaker(Refusing(), spec(), {}), DATA, threads=1)
    with pytest.raises(ConfigError, match=r"^set another thing$"):
        results(tmp_path, InProcess(runner), runner=runner)


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="device = 'cuda', but torch sees no CUDA device"):
        InProcess(TrialRunner(SubspaceMaker(Bag(), spec(), {}), DATA, threads=1, device="cuda"))


def test_threads_are_those_of_the_runner_and_the_callers_are_left_alone():
    before = torch.get_num_threads()
    runner = TrialRunner(SubspaceMaker(Bag(), spec(), {}), DATA, threads=before + 1)
    seen = []
    outcome = runner(planned_keys(spec())[0], lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    assert outcome.trial.ran_on == f"cpu, {before + 1} threads"


DRIVER = """
import sys
from small_runs import Recorder, runner_of, spec
from idbounds.measurement.executors import Processes
from test_executors import results

class Telling(Recorder):
    def step(self, *, step, steps, loss, advance=1):
        print(*(worker.processes[0].pid for worker in executor._workers), flush=True)

if __name__ == "__main__":
    runner = runner_of(spec())
    executor = Processes(runner, workers=2)
    results(sys.argv[1], executor, runner=runner, reporter=Telling())
"""


@pytest.mark.slow
def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "store")]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in workers if os.path.exists(f"/proc/{pid}")] == []
