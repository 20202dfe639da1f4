"""`Subspace`: any model, trained along d directions."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Literal

import torch
from torch import Tensor, nn

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec
from idbounds.measurement import saving
from idbounds.measurement.at_hand import Moved, register
from idbounds.measurement.disguise import OF_THE_MODEL, class_for
from idbounds.measurement.embeddings import look_up_moved_rows, only_in_embeddings
from idbounds.measurement.parametrizations import parametrization_by_name
from idbounds.measurement.parametrizations.base import bake
from idbounds.measurement.recurrent import follow_moved_weights, forget_moved_weights
from idbounds.measurement.sharding import require_whole
from idbounds.measurement.sites import autocast_dtype, cast_by_autocast, moved_directly, trainable_sites, trained_directly
from idbounds.measurement.soundness import require_plain_weights, require_sound
from idbounds.measurement.state import hash_of, install_state_hooks
from idbounds.measurement.undisturbed import undisturbed
from idbounds.measurement.weights import RemadeWeights, weights_named
from idbounds.projections import Point, from_spec, projection_family


class Subspace(nn.Module):
    """A copy of a model whose trainable weights are θ₀ moved by d numbers, `theta_d`.

    The only trainable parameter is `theta_d`, all 0 at the start, where every weight is θ₀ in every bit.
    The wrapped network is an ordinary submodule: train() and eval() reach all of it, tied weights stay
    one tensor (each alias is moved by the same rows), and the caller's model is left as it was.

    Args:
        model: any nn.Module; its parameters with requires_grad move, the others stay.
        dim: d, every trained number counted: the coordinates of P, the parametrization's own, and the weights of
            `train_directly`.
        projection: a name in `idbounds.projections.PROJECTIONS`.
        projection_options: of that family, by name.
        parametrization: a name in `PARAMETRIZATIONS`: ``"full_weights"`` (DID), ``"said"`` and others.
        parametrization_options: of that family, by name.
        seed: of P.
        allocation: how ||P w||² is shared, ``"global"`` or ``"per_tensor"``.
        train_directly: patterns of names (as for the shell) of tensors that are trained weight by weight beside P, such as
            ``["classifier.*"]`` for a new head; each of their weights counts in d.
        memory: ``"keep"`` holds θ₀ and θ, two numbers a weight; ``"recompute"`` holds θ₀ and makes each tensor where it
            is used, in the forward and again in the backward pass. Gradients are the same.
        share_weights: θ₀ is the caller's tensors instead of a copy of them, which must then not be changed.

    Raises:
        ConfigError: no trainable weights, quantised weights, d out of range, unknown names, options that JSON cannot hold.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        dim: int,
        projection: str = "fastfood",
        projection_options: Mapping[str, int] | None = None,
        parametrization: str = "full_weights",
        parametrization_options: Mapping[str, Any] | None = None,
        seed: int = 0,
        allocation: Literal["global", "per_tensor"] = "global",
        train_directly: Sequence[str] = (),
        memory: Literal["keep", "recompute"] = "keep",
        share_weights: bool = False,
    ) -> None:
        super().__init__()
        self.settings = {
            "dim": dim,
            "projection": projection,
            "projection_options": dict(projection_options or {}),
            "parametrization": parametrization,
            "parametrization_options": dict(parametrization_options or {}),
            "seed": seed,
            "allocation": allocation,
            "train_directly": list(train_directly),
            "memory": memory,
        }
        family = parametrization_by_name(parametrization)
        require_plain_weights(model)
        self.model = family.prepared(_copy(model, share_weights=share_weights), dict(parametrization_options or {}))
        # Now, because what cannot be recorded should be known before anything is trained.
        self.recorded_options = family.recorded(dict(parametrization_options or {}))
        sites = trainable_sites(self.model)
        sizes = {name: places[0].tensor.numel() for name, places in sites.items()}
        if not 0 < dim <= sum(sizes.values()):
            raise ConfigError(
                f"d must be from 1 to the number of trainable weights, {sum(sizes.values())}, got d = {dim}; choose another d"
            )
        self._direct = trained_directly(sizes, train_directly, dim=dim)
        along_p = {name: size for name, size in sizes.items() if name not in self._direct}
        self.parametrization = family(
            list(along_p),
            dim=dim - sum(size for _, size in self._direct.values()),
            scales=(parametrization_options or {}).get("scales"),
        )
        self.projection = from_spec(
            ProjectionSpec.checked(
                family=projection,
                version=projection_family(projection).version,
                dim=self.parametrization.projected_dim,
                seed=seed,
                allocation=allocation,
                layout=tuple(along_p.items()),
                options=dict(projection_options or {}),
            )
        )
        self.theta_d = nn.Parameter(torch.zeros(dim, device=next(iter(sites.values()))[0].tensor.device))
        self.rounding_step: float | None = None
        #: Which coordinates have values of their own instead of those of `theta_d`, and the values: two tensors of d numbers.
        self.held: tuple[Tensor, Tensor] | None = None
        self._points: dict[bool, Mapping[str, Point]] | None = None
        in_embeddings = only_in_embeddings(sites)
        self._weights = weights_named(memory)
        self._cast_by_autocast = frozenset(name for name, places in sites.items() if all(map(cast_by_autocast, places)))
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        places = {}
        for name, at in sites.items():
            moved = Moved(self, name)
            places[name] = [register(module, attribute, moved) for module, attribute, _ in at]
        self._places = {name: places[name] for name in along_p}
        look_up_moved_rows(place for name in in_embeddings.keys() - self._direct.keys() for place in in_embeddings[name])
        follow_moved_weights(self.model)
        install_state_hooks(self)
        self.__class__ = class_for(type(self), model)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model's forward at θ. The class of an instance declares it with the wrapped model's signature."""
        self._points = {}
        try:
            with self._weights.during_forward():
                self._weights.lay_out(self._current_points(), self._places, self._dtype)
                return self.model(*args, **kwargs)
        finally:
            self._points = None

    def __getattr__(self, name: str) -> Any:
        """Of the wrapped model, what trainers ask of a model of transformers; the rest is nn.Module's."""
        if name in OF_THE_MODEL:
            return getattr(super().__getattr__("model"), name)
        return super().__getattr__(name)

    def moved(self, theta_0: Tensor, name: str) -> Tensor:
        """θ for one tensor; within a forward pass what the tensors share is made once.

        In the dtype of θ₀, or of autocast where that would cast the tensor at each use: P is applied in full precision, and
        θ is cast last.
        """
        if name in self._direct:
            start, size = self._direct[name]
            with undisturbed(theta_0.device):
                return moved_directly(theta_0, self.coordinates()[start : start + size])
        return self._weights.make(self._current_points()[name], theta_0, name=name, dtype=self._dtype(name, theta_0))

    def _dtype(self, name: str, theta_0: Tensor) -> torch.dtype:
        return autocast_dtype(theta_0) if name in self._cast_by_autocast else theta_0.dtype

    def looks_up(self, theta_0: Tensor, indices: Tensor) -> bool:
        """Whether the rows of a matrix that indices name are sooner made without the others.

        On a CPU they are, in blocks; on a device where that needs no look at the indices, which would have to wait for them,
        and they are fewer than the rows.
        """
        if theta_0.device.type == "cpu":
            return True
        return self.projection.looks_up(theta_0) and indices.numel() < theta_0.shape[0]

    def looked_up(self, theta_0: Tensor, name: str, indices: Tensor, padding: int | None) -> Tensor:
        """The rows of θ that indices name, for a matrix that an embedding holds; the row `padding` has no gradient."""
        point = self._current_points()[name]
        with undisturbed(theta_0.device):
            rows = point.looked_up(theta_0, indices.reshape(-1).long(), name=name, padding=padding)
        return rows.view(*indices.shape, theta_0.shape[1])

    def tensors(self, theta_0: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """θ for tensors at θ₀, by their names, differentiable in `theta_d`; what they share is made once."""
        self._points = {}
        try:
            along_p = {name: tensor for name, tensor in theta_0.items() if name not in self._direct}
            self._weights.write(self._current_points(), along_p, self._dtype)
            return {name: self.moved(tensor, name) for name, tensor in theta_0.items()}
        finally:
            self._points = None

    def _current_points(self) -> Mapping[str, Point]:
        """The point each tensor is moved to. Kept by grad mode: checkpointing runs parts of a pass without derivatives."""
        mode = torch.is_grad_enabled()
        if self._points is not None and mode in self._points:
            return self._points[mode]
        with undisturbed(self.theta_d.device):
            coordinates = self.coordinates()
            points = self.parametrization.points(coordinates[: self.parametrization.dim], self.projection)
        self._weights.begin(coordinates.detach())
        if self._points is not None:
            self._points[mode] = points
        return points

    def ledger(self) -> dict[str, int]:
        """How many trainable numbers there are of each kind; they sum to d."""
        direct = {f"weights of {name}": size for name, (_, size) in self._direct.items()}
        return {**self.parametrization.ledger(), **direct}

    def coordinates(self) -> Tensor:
        """`theta_d`, rounded to multiples of `rounding_step` if that is set; the `held` ones at their values, without gradient.

        The gradient passes through the rounding as if it were not there (straight-through estimator,
        Bengio, Léonard & Courville 2013, arXiv 1308.3432).
        """
        free: Tensor = self.theta_d
        if self.rounding_step is not None:
            rounded = torch.round(free / self.rounding_step) * self.rounding_step
            free = free + (rounded - free).detach()
        return free if self.held is None else torch.where(*self.held, free)

    @torch.no_grad()
    def set_coordinates(self, values: Tensor) -> None:
        """Copy d numbers into `theta_d`."""
        if values.shape != self.theta_d.shape:
            raise ValueError(f"expected {self.theta_d.numel()} coordinates, got shape {tuple(values.shape)}")
        self.theta_d.copy_(values)

    def merge(self) -> nn.Module:
        """A plain model with the moved weights, tied weights still tied.

        Raises:
            TrainingError: a trained number is NaN or infinite.
            ConfigError: the weights are sharded.
        """
        require_whole(self)
        require_sound(self)
        return self._plain(moved=True)

    def save_pretrained(
        self, folder: str | PathLike[str], *, merged: bool = False, inputs: Any = None, tolerance: float = 0.0
    ) -> None:
        """Write the state to a folder, with the merged model if asked: see `saving.save`."""
        saving.save(self, folder, merged=merged, inputs=inputs, tolerance=tolerance)

    @classmethod
    def from_pretrained(
        cls, folder: str | PathLike[str], *, model: nn.Module, parametrization_options: Mapping[str, Any] | None = None
    ) -> Subspace:
        """The subspace that `save_pretrained`, or Hugging Face's Trainer, wrote, around a model at θ₀: see `saving.load`."""
        return saving.load(cls, folder, model=model, parametrization_options=parametrization_options)

    @contextmanager
    def remaking(self) -> Iterator[None]:
        """Within, every tensor that is asked for is made anew and not kept, and what they share is made once."""
        before = self._weights, self._points
        self._weights, self._points = RemadeWeights(), {}
        try:
            yield
        finally:
            self._weights, self._points = before

    @functools.cached_property
    def theta_0_sha256(self) -> str:
        """Hash of the names, shapes, types and bytes of all weights of the wrapped model at θ₀."""
        return hash_of(dict(self.model.named_parameters(remove_duplicate=False)))

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the plain model at θ₀, the settings and the state: torch pickles no parametrized module."""
        return _rebuilt, (self._plain(moved=False), self.settings, self.state_dict(), self.rounding_step, self.training)

    def __deepcopy__(self, memo: dict[int, Any]) -> Subspace:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__ = {key: copy.deepcopy(value, memo) for key, value in self.__dict__.items()}
        return twin

    def _plain(self, *, moved: bool) -> nn.Module:
        """A copy of the original classes, at θ or at θ₀."""
        twin = copy.deepcopy(self)
        if not moved:
            twin.set_coordinates(torch.zeros_like(twin.theta_d))
        with torch.no_grad(), twin.remaking():
            bake(twin.model, Moved)
        forget_moved_weights(twin.model)
        return twin.parametrization.baked(twin.model)


def _copy(model: nn.Module, *, share_weights: bool) -> nn.Module:
    """A copy of a model; on demand with the caller's own weights in it, as parameters of the copy."""
    if not share_weights:
        return copy.deepcopy(model)
    shared = {id(one): nn.Parameter(one.detach(), requires_grad=one.requires_grad) for one in model.parameters()}
    return copy.deepcopy(model, memo=shared)


def _rebuilt(
    model: nn.Module, settings: dict[str, Any], state: dict[str, Any], rounding_step: float | None, training: bool
) -> Subspace:
    subspace = Subspace(model, **settings)
    subspace.load_state_dict(state)
    subspace.rounding_step = rounding_step
    return subspace.train(training)
