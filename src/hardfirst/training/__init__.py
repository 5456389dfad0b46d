"""Train one network on a problem with one balancer, and write the record of the run."""

from hardfirst.training._check import check_problem, load_splits
from hardfirst.training._cost import step_seconds, trial_seconds
from hardfirst.training._devices import ACCELERATORS, check_devices, check_precision, device_kind, is_main_process
from hardfirst.training._doubts import MeasureWarning
from hardfirst.training._fingerprint import fingerprint, same_data
from hardfirst.training._fit import fit
from hardfirst.training._interrupt import Interrupted
from hardfirst.training._lines import Watcher
from hardfirst.training._model_file import ModelFile, read_model
from hardfirst.training._network import build_network
from hardfirst.training._precision import in_precision
from hardfirst.training._processes import NO_GUARD, UNGUARDED, begin_child, check_can_start, process_context, started
from hardfirst.training._protocol import HELD_OUT, PROTOCOLS, PUBLISHED, check_published, nothing_held_out, published_of
from hardfirst.training._sampling import epoch_order
from hardfirst.training._trial import Trial, trial_key
from hardfirst.training.vectorized import NotVectorizable, Preview, fit_together, preview

__all__ = [
    "ACCELERATORS",
    "HELD_OUT",
    "NO_GUARD",
    "PROTOCOLS",
    "PUBLISHED",
    "UNGUARDED",
    "Interrupted",
    "MeasureWarning",
    "ModelFile",
    "NotVectorizable",
    "Preview",
    "Trial",
    "Watcher",
    "begin_child",
    "build_network",
    "check_can_start",
    "check_devices",
    "check_precision",
    "check_problem",
    "check_published",
    "device_kind",
    "epoch_order",
    "fingerprint",
    "fit",
    "fit_together",
    "in_precision",
    "is_main_process",
    "load_splits",
    "nothing_held_out",
    "preview",
    "process_context",
    "published_of",
    "read_model",
    "same_data",
    "started",
    "step_seconds",
    "trial_key",
    "trial_seconds",
]
