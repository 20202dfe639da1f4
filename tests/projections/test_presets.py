import dataclasses
import warnings

import pytest
import torch

from idbounds.core.errors import ConfigError, KnownFaultWarning
from idbounds.measurement.parametrizations import PARAMETRIZATIONS
from idbounds.projections import FAULTY, PRESETS, PROJECTIONS, preset, projection
from idbounds.reporting.bibliography import references
from idbounds.testing.projection_suite import gaussian

LAYOUT = (("bias", 30), ("weight", 900))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_its_projection_and_cites_its_paper(name):
    chosen = preset(name)
    with warnings.catch_warnings(action="ignore", category=KnownFaultWarning):
        P = chosen.projection(d=20, layout=LAYOUT, seed=3)
        by_hand = projection(chosen.family, d=20, layout=LAYOUT, seed=3, allocation=chosen.allocation, **dict(chosen.options))
    assert (P.spec.family, P.spec.allocation, P.spec.seed) == (chosen.family, chosen.allocation, 3)
    assert torch.equal(P @ gaussian(20), by_hand @ gaussian(20))
    assert chosen.name == name
    assert chosen.parametrization in PARAMETRIZATIONS
    assert chosen.citation in references()
    assert len(chosen.note) > 100


def test_only_the_one_that_says_so_is_faulty():
    assert {name for name, chosen in PRESETS.items() if chosen.family in FAULTY} == {"said_released_code"}
    assert not set(FAULTY) & set(PROJECTIONS)
    with pytest.warns(KnownFaultWarning, match="WRONG gradient on purpose"):
        preset("said_released_code").projection(d=2, D=10)


def test_li2018_is_one_block_over_the_concatenation():
    P = preset("li2018").projection(d=16, D=256)
    matrix = P.to_dense()
    # One block of 256 rows: sum G^2 / sum G^2 of all of them, so the trace of P^T P is d.
    assert float(matrix.square().sum()) == pytest.approx(16)


def test_presets_are_frozen_and_unknown_names_refused():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("li2018").family = "dense"
    with pytest.raises(ConfigError, match="unknown preset 'li2019'; choose one of li2018, aghajanyan2020, lotfi2022"):
        preset("li2019")
