"""Two processes on gloo, with half of each batch, against one process with the whole: DDP, Accelerate, Trainer, FSDP2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
import distributed_jobs as jobs

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace
from idbounds.measurement.sharding import shard

HERE = Path(__file__).parent
#: Sums over examples are made in another order; AdamW divides by the gradient's size, which enlarges that.
CLOSE = {"rtol": 1e-4, "atol": 2e-6}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What both processes report of each job, and the folder where they wrote. torchrun finds a free port by itself."""
    folder = tmp_path_factory.mktemp("launched")
    names = ["sharded", "ddp", "ddp_of_other_heads", "accelerated", "trainer", "trainer_of_shards"]
    # One start for all: most of the time goes into importing what they need.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    outcome = subprocess.run(
        [*command, str(HERE / "distributed_jobs.py"), str(folder), *names],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,  # its own words are better than the exception's
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert outcome.returncode == 0, outcome.stderr[-6000:]
    return folder, {name: [torch.load(folder / f"{name}.{rank}.pt") for rank in (0, 1)] for name in names}


@pytest.fixture(scope="module")
def replicated(launched):
    return launched[1]


@pytest.fixture(scope="module")
def sharded(launched):
    return launched[0], launched[1]["sharded"]


@pytest.fixture(scope="module")
def alone():
    """One process with the whole batch."""
    ours = jobs.subspace()
    return jobs.train(ours, ours.theta_d)


def test_ddp_gives_the_gradients_and_numbers_of_one_process(replicated, alone):
    for result in replicated["ddp"]:
        for key in ("losses", "gradients", "theta_d"):
            torch.testing.assert_close(result[key], alone[key], **CLOSE)
        torch.testing.assert_close(result["accumulated"], alone["theta_d"], **CLOSE)
    assert torch.equal(*(result["theta_d"] for result in replicated["ddp"]))
    assert alone["theta_d"].abs().median() > 0.01, "they have moved, far more than the tolerance"
    assert bool(alone["theta_d"].all())


def test_d_floats_and_nothing_else_go_over_the_wire(replicated):
    for result in replicated["ddp"]:
        assert result["buckets"] == [4 * jobs.DIM]
        assert result["wire"] == result["frozen statistics"] == [("gloo:all_reduce", jobs.DIM)]
        # Told nothing, DDP also sends buffers that never change, such as the numbers of the positions.
        assert sum(numbers for _, numbers in result["by default"]) > jobs.DIM


def test_ddp_gives_every_process_the_weights_of_the_first(replicated):
    first, second = replicated["ddp_of_other_heads"]
    assert not torch.equal(first["before"], second["before"])
    for key in ("logits", "theta_d", "gradients"):
        assert torch.equal(first[key], second[key])
    assert first["theta_0_sha256"] == second["theta_0_sha256"]


def test_accelerate_trains_saves_and_loads_d_numbers(replicated, alone):
    for result in replicated["accelerated"]:
        assert result["processes"] == 2
        assert torch.equal(result["loaded"], result["theta_d"])
        assert result["sizes"]["model.safetensors"] < 4 * jobs.DIM + 1500
    # It deals examples out in blocks, and the batch is the same.
    torch.testing.assert_close(replicated["accelerated"][0]["theta_d"], alone["theta_d"], **CLOSE)


def test_trainer_on_two_processes_is_trainer_on_one(replicated, tmp_path):
    one = jobs.trained(jobs.subspace(), tmp_path, per_device=jobs.BATCH)
    for result in (*replicated["trainer"], *replicated["trainer_of_shards"]):
        assert (one["processes"], result["processes"]) == (1, 2)
        for key in ("theta_d", "evaluation"):
            torch.testing.assert_close(result[key], one[key], **CLOSE)
    for first in (replicated["trainer"][0], replicated["trainer_of_shards"][0]):  # the first process alone keeps a log
        torch.testing.assert_close(first["losses"], one["losses"], **CLOSE)


def test_trainer_leaves_shards_as_they_are_and_saves_the_numbers(launched):
    folder, results = launched
    blocks = sum(one.numel() for one in jobs.model().bert.encoder.layer.parameters())
    assert [result["local"] for result in results["trainer_of_shards"]] == [blocks / 2, blocks / 2]
    again = Subspace.from_pretrained(folder / "trainer_of_shards" / f"checkpoint-{jobs.STEPS}", model=jobs.model())
    assert torch.equal(again.theta_d, results["trainer_of_shards"][0]["theta_d"])


def test_sharded_weights_give_the_losses_and_numbers_of_one_process(sharded, alone):
    _, results = sharded
    for result in results:
        for key in ("losses", "gradients", "theta_d"):
            torch.testing.assert_close(result[key], alone[key], **CLOSE)
        torch.testing.assert_close(result["accumulated"], alone["theta_d"], **CLOSE)
        assert torch.isfinite(result["logits"]).all()
    assert torch.equal(*(result["theta_d"] for result in results))


def test_each_process_holds_its_share_of_every_frozen_weight(sharded):
    _, results = sharded
    sizes = {name: one.numel() for name, one in jobs.subspace().model.named_parameters()}
    for name, size in sizes.items():
        assert sum(result["local"][name] for result in results) == size, name
    for result in results:
        assert result["theta_d is whole"]
        assert sum(result["local"].values()) < 0.55 * sum(sizes.values())


def test_no_process_holds_all_frozen_weights_at_any_time(sharded):
    sizes = {name: one.numel() for name, one in jobs.model().named_parameters()}
    outside = sum(size for name, size in sizes.items() if "encoder" not in name)
    block = sum(size for name, size in sizes.items() if "layer.0." in name)
    total = outside + 4 * block
    for result in sharded[1]:
        assert len(result["held"]) > 2 * jobs.STEPS * 4 * 6
        # What is outside of the blocks, one block, and half of the other three.
        assert max(result["held"]) == outside + block + 3 * block / 2 < 0.8 * total


def test_what_sharded_weights_cannot_do_is_said(sharded):
    for result in sharded[1]:
        merge, keep, pattern, theta_0 = result["refused"]
        assert "no process has the merged model; save_pretrained on one process" in merge
        assert "memory='keep' holds θ whole on every process" in keep
        assert "no module of the model matches 'encoder.block.*'" in pattern
        assert "the processes hold different θ₀" in theta_0


def test_what_a_sharded_run_saved_is_read_by_one_process(sharded):
    folder, results = sharded
    again = Subspace.from_pretrained(folder / "sharded", model=jobs.model())
    assert torch.equal(again.theta_d, results[0]["theta_d"])
    assert json.loads((folder / "sharded" / "config.json").read_text())["memory"] == "recompute"
    again.merge()


def test_sharding_needs_processes():
    with pytest.raises(ConfigError, match="start by torchrun"):
        shard(jobs.subspace(memory="recompute"), blocks=jobs.BLOCKS)
