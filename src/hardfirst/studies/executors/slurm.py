"""The Slurm engine: each trial is a job of a Slurm cluster, submitted through submitit."""

import shutil
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from hardfirst.errors import InputError, MissingPackage, check_names, number, whole
from hardfirst.studies.executors.base import Assignment, Ended, Executor, Status
from hardfirst.studies.executors.local import cores
from hardfirst.studies.executors.worker import run_assignment
from hardfirst.training import Trial


class _Cluster(NamedTuple):
    """What differs between clusters, by submitit's names for them.

    Args:
        room: the number of jobs at a time; Slurm itself queues them.
        pulse: as in `Executor`; a look asks a shared file system about every job.
        grace: seconds for a result to appear in a shared folder after its job has ended.
    """

    room: int
    pulse: float
    grace: float


_CLUSTERS = {"slurm": _Cluster(1_000_000, 5.0, 15.0), "local": _Cluster(cores(), 0.5, 0.0)}


class Slurm(Executor):
    """Jobs of a Slurm cluster.

    Start the study where `sbatch` works, a login node for instance, in a folder that the nodes share; jobs use the same
    Python environment. They claim their trials and write the records themselves, so that a study whose own process is killed
    resumes with what its jobs have done. What jobs print is in the study's folder under slurm/.

    Args:
        partition: where jobs run; several joined by "+". Default: the cluster's.
        account: what jobs are charged to. Default: the user's.
        cpus: the CPUs of a job, at least 1. Torch has as many threads.
        gpus: the GPUs of a job; `--accelerator cuda` uses one.
        memory_gb: the memory of a job in GB, above 0. Default: the cluster's.
        minutes: the time limit of a job, at least 1. A trial that takes longer fails.
        setup: a shell command that a job runs first; several joined by "+".
        cluster: "slurm", or "local" for the same jobs as processes of this machine, to try the engine.
    """

    attempts = 4

    def __init__(
        self,
        *,
        partition: str | tuple[str, ...] | None = None,
        account: str | None = None,
        cpus: int = 1,
        gpus: int = 0,
        memory_gb: float | None = None,
        minutes: int = 60,
        setup: str | tuple[str, ...] | None = None,
        cluster: str = "slurm",
    ) -> None:
        check_names("cluster", [cluster], _CLUSTERS)
        self.cluster, self.pulse = cluster, _CLUSTERS[cluster].pulse
        self.minutes = whole("minutes", minutes, least=1)
        self.cpus, gpus = whole("cpus", cpus, least=1), whole("gpus", gpus, least=0)
        parameters = {
            "name": "hardfirst",
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            "gpus_per_node": gpus or None,
            "mem_gb": None if memory_gb is None else number("memory_gb", memory_gb, above=0),
            "slurm_partition": ",".join(_texts(partition)) or None,
            "slurm_account": None if account is None else str(account),
            f"{cluster}_setup": _texts(setup) or None,
            "slurm_use_srun": False,  # a job is one process, to which srun of some versions does not pass on the job's CPUs
        }
        self._parameters = {name: value for name, value in parameters.items() if value is not None}
        self._submitter: Any = None
        self._jobs: dict[str, Any] = {}
        self._without_result: dict[str, float] = {}

    def check(self, accelerator: str) -> None:
        _submitit()
        if self.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise InputError(
                "Slurm's commands `sbatch` and `srun` are not here: start the study on the cluster's login node, or try the "
                "engine on this machine with slurm:cluster=local."
            )

    def open(self, folder: Path, trials: Collection[Trial]) -> None:
        self._submitter = _submitit().AutoExecutor(folder / "slurm", cluster=self.cluster)
        self._submitter.update_parameters(**self._parameters)

    @property
    def room(self) -> int:
        return _CLUSTERS[self.cluster].room

    def start(self, assignment: Assignment) -> None:
        try:
            self._jobs[assignment.key] = self._submitter.submit(_work, assignment, self.cpus)
        except RuntimeError as error:  # submitit's, with what sbatch has printed
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"Slurm does not take the job of a trial: {reason}") from None

    def ended(self, timeout: float) -> list[Ended]:
        time.sleep(timeout)
        outcomes = [self._outcome(key, job) for key, job in self._jobs.items()]
        ended = [outcome for outcome in outcomes if outcome is not None]
        for outcome in ended:
            del self._jobs[outcome.key]
            self._without_result.pop(outcome.key, None)
        return ended

    def _outcome(self, key: str, job: Any) -> Ended | None:
        """How a job has ended; None while it may still run."""
        # submitit waits for a preempted job to be requeued, which a cluster need not do. If it does, the requeued job finds
        # its trial claimed or ended.
        if not job.done() and job.state != "PREEMPTED":
            return None
        if job.paths.result_pickle.exists():
            try:
                status: Status = job.result()
            except RuntimeError:  # submitit's, for whatever error the job has raised
                return Ended(key, "died", f"its Slurm job {job.job_id} failed, as {job.paths.stderr} says")
            return Ended(key, status)
        since = self._without_result.setdefault(key, time.monotonic())
        if time.monotonic() - since < _CLUSTERS[self.cluster].grace:
            return None
        if job.state == "TIMEOUT":
            return Ended(key, "died", f"its Slurm job reached its time limit, minutes={self.minutes}", again=False)
        return Ended(key, "died", f"its Slurm job {job.job_id} ended without a result, in the state {job.state}")

    def close(self) -> None:
        for job in self._jobs.values():
            job.cancel(check=False)
        while self.cluster == "local" and not all(job.done() for job in self._jobs.values()):
            time.sleep(0.1)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise MissingPackage('The engine "slurm" needs submitit: pip install "hardfirst[slurm]".') from None
    return submitit


def _texts(value: Any) -> list[str]:
    """An option as texts; a spec has a list as a tuple and a word that looks like a number as one."""
    return [] if value is None else [str(item) for item in value] if isinstance(value, tuple) else [str(value)]


def _work(assignment: Assignment, threads: int) -> Status:
    """What a job does."""
    # submitit ignores it; a cancelled job would write to the study's folder until Slurm kills it, half a minute later.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return run_assignment(assignment, threads)
