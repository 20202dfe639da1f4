"""The keys of a run's trials, from its specification."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from idbounds.core.trial_key import SubspaceSetting, TrialSetting
from idbounds.core.values import RunSpec, TrialKey

#: The method of a trial that has no subspace; its d is written as 0.
FULL_FINE_TUNING = "full_fine_tuning"

#: What a run does with its trials, or chooses them from: no part of any one of them.
_NOT_OF_A_TRIAL = ("learning_rates", "full_learning_rates", "quantization_steps")


def trial_setting(spec: RunSpec) -> TrialSetting:
    """The part of a specification that determines full fine-tuning, seed and learning rate aside."""
    task, model, training = spec.task, spec.model, spec.training.to_dict()
    return TrialSetting(
        train_sha256=task.train.sha256_of_examples,
        validation_sha256=task.validation.sha256_of_examples,
        test_sha256=task.test.sha256_of_examples,
        label_names=task.label_names,
        theta0_sha256=model.theta0_sha256,
        tokenizer_sha256=model.tokenizer_sha256,
        head=model.head,
        max_length=model.max_length,
        dtype=model.dtype,
        eval_batch_size=model.eval_batch_size,
        training={name: value for name, value in training.items() if name not in _NOT_OF_A_TRIAL},
        images=model.images,
        learning_task=spec.learning_task,
    )


def subspace_setting(spec: RunSpec) -> SubspaceSetting:
    """The part of a specification that determines a subspace, d and seed aside."""
    return SubspaceSetting(**{name: getattr(spec, name) for name in SubspaceSetting.model_fields})


class Keys:
    """Makes the keys of one specification."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._setting, self._subspace = trial_setting(spec).sha256, subspace_setting(spec).sha256

    def key(self, *, d: int, seed: int, learning_rate: float) -> TrialKey:
        """Of one trial; d = 0 is full fine-tuning."""
        return TrialKey(
            spec_sha256=self._setting,
            method=self._spec.parametrization if d else FULL_FINE_TUNING,
            d=d,
            seed=seed,
            learning_rate=learning_rate,
            subspace_sha256=self._subspace if d else None,
        )

    def keys(self, *, d: int, seeds: Iterable[int], learning_rates: Iterable[float]) -> list[TrialKey]:
        """Every seed at every learning rate."""
        return [self.key(d=d, seed=seed, learning_rate=rate) for seed, rate in product(seeds, learning_rates)]

    def belongs(self, key: TrialKey) -> bool:
        """Whether a trial that some run has put into the store is one of this specification, on its menu or not."""
        return key.spec_sha256 == self._setting and key.subspace_sha256 == (self._subspace if key.d else None)

    def first_form(self, key: TrialKey) -> TrialKey:
        """The key that the first stores had for the same trial: under the hash of the whole specification."""
        return key.model_copy(update={"spec_sha256": self._spec.sha256, "subspace_sha256": None})


def planned_keys(spec: RunSpec) -> list[TrialKey]:
    """Every trial of the grid, the full fine-tuning runs first."""
    make, seeds, training = Keys(spec), spec.menu.seeds, spec.training
    full = make.keys(d=0, seeds=seeds, learning_rates=training.full_learning_rates)
    return full + [key for d in spec.menu.dims for key in make.keys(d=d, seeds=seeds, learning_rates=training.learning_rates)]
