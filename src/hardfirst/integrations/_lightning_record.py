"""The Lightning callback that writes run records."""

import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hardfirst.errors import InputError, MissingPackage
from hardfirst.integrations._adapter import LoopAdapter
from hardfirst.integrations._recorder import RunRecorder

_NAMESPACES = ("lightning.pytorch", "pytorch_lightning")


class RecordRuns:
    """Callback that writes the run record of a `Balanced` module, for `hardfirst report FOLDER`.

    It subclasses the callback of the Lightning package in use. Reports compare test figures: call `trainer.test` after
    `trainer.fit`, with `ckpt_path="best"` for the weights of the best epoch.

    Args:
        folder: where records are written; runs of several balancers and seeds may share it.
        problem: the problem's name in reports.
        balancer: the method's name in reports, for example "dtp:gamma=2".
        seed: the run's seed.
        settings: further settings that distinguish runs.

    Example:
        A callback for the trainer, and a test after the fit::

            trainer = lightning.Trainer(callbacks=[RecordRuns("runs/mine", problem="digits", balancer="dtp", seed=0)])
            trainer.fit(module)
            trainer.test(module, ckpt_path="best")
    """

    def __new__(cls, *_: Any, **__: Any) -> "RecordRuns":
        bases = tuple(import_module(name).Callback for name in _NAMESPACES if sys.modules.get(name))
        if not bases:
            try:
                bases = (import_module(_NAMESPACES[0]).Callback,)
            except ModuleNotFoundError:
                raise MissingPackage('RecordRuns needs Lightning: pip install "hardfirst[lightning]".') from None
        # Lightning may be missing when this class is imported, so its Callback becomes a base class only here; if both
        # packages are loaded, the instance is a callback of both.
        callback: RecordRuns = object.__new__(type(cls.__name__, (cls, *bases), {}))
        return callback

    def __init__(
        self, folder: str | Path, *, problem: str, balancer: str, seed: int, settings: Mapping[str, Any] | None = None
    ) -> None:
        trial = {"problem": problem, "balancer": balancer, "seed": seed, **(settings or {})}
        self.recorder = RunRecorder(folder, trial)
        self._start = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the record's first line."""
        if not isinstance(getattr(pl_module, "_adapter", None), LoopAdapter):
            raise InputError(f"RecordRuns needs a module with the mixin Balanced; {type(pl_module).__name__} lacks it.")
        if trainer.is_global_zero:
            self.recorder.begin(pl_module.balancer.tasks, pl_module, epochs=trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the epoch's clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the line of the epoch."""
        figures, restarted = pl_module._adapter.pop_epoch(), pl_module._adapter.restart.pop()
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0
            seconds = time.monotonic() - self._start
            self.recorder.epoch(seconds=seconds, learning_rate=rate, tasks=figures, restarted=restarted)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the record's last line."""
        if trainer.is_global_zero and trainer.state.status != "interrupted":
            self.recorder.end()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the line of the test split."""
        if trainer.is_global_zero and pl_module._tested is not None:
            self.recorder.test(pl_module._tested, best=trainer.ckpt_path is not None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Record a failed run as an outcome; an interrupted run stays open and can be resumed."""
        if trainer.is_global_zero and not isinstance(exception, KeyboardInterrupt):
            self.recorder.end("failed", f"{type(exception).__name__}: {exception}")
