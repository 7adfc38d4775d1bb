"""Do units on Ray: on the cluster at RAY_ADDRESS, else on one started on this machine.

Ray moves only units and receipts. Actors and their units are retried by Ray without limit; a
worker counts the starts of a unit, so one that kills every worker is given up.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ettin_cli.clusters.captured import captured, logged_to
from ettin_cli.clusters.placement import ADDRESS, Placement
from ettin_cli.clusters.unit_folder import UnitFolder
from ettin_cli.clusters.units import Job, Receipt, Unit
from ettin_cli.clusters.worker import Worker
from ettin_cli.errors import EttinError, first_line
from ettin_cli.records import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENCE_S = 10
# Blocks of a few hundred bytes are all that the store holds.
STORE_BYTES = 128 << 20
# Of a worker whose GPU can no longer be used by its process.
LOST_GPU = 17


class RayWorker:
    """A worker in an actor: takes pickled units, and returns pickled receipts."""

    def __init__(self, job: bytes) -> None:
        self.begun = job
        self.log = ""
        self.worker: Worker | None = None

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, list[bytes]]:
        """Do the units of a batch, which has one."""
        return {"receipt": [pickle.dumps(self._receipt(unit)) for unit in batch["unit"]]}

    def _receipt(self, packed: bytes) -> Receipt:
        # Ray neither retries exceptions nor reports them briefly, so a receipt carries them.
        unit = pickle.loads(packed)
        try:
            if self.worker is None:
                job, folder, run = pickle.loads(self.begun)
                self.log = str(folder.log)
                self.worker = Worker(job, folder, run, every=False)
            return self.worker(unit)
        except EttinError as error:
            return Receipt(unit.number, error=error)
        except Exception as error:
            if "CUDA error" in str(error):
                # The process can no longer use the GPU; Ray starts another.
                os._exit(LOST_GPU)
            problem = f"{unit} failed on {socket.gethostname()}: {first_line(error)}"
            failed = EttinError(problem, code="worker-failed", log=self.log)
            return Receipt(unit.number, error=failed, trace=traceback.format_exc())


def receipts_from_ray(
    job: Job,
    units: Sequence[Unit],
    folder: UnitFolder,
    run: str,
    placement: Placement,
    reporter: Reporter,
    shared: ExitStack | None,
) -> Generator[Receipt, None, None]:
    """Yield the receipt of each unit, as they are done.

    Args:
        shared: Ends the cluster, which later runs use too; None: it ends with this run.

    Raises:
        EttinError: There is no cluster, it is too small for a worker, or Ray failed.
    """
    begun = pickle.dumps((job, folder, run))
    with captured(folder.log) as log, ExitStack() as own:
        try:
            # First, so that its loggers exist.
            import ray.data  # noqa: F401

            place = _connect(placement, len(units), log, own, shared)
            with logged_to("ray", log):
                pool = _pool(placement, len(units))
                reporter.notice(f"on Ray: {pool} {place}")
                for receipt in _receipts(pool, begun, units):
                    if receipt.trace:
                        log.write(receipt.trace)
                    yield receipt
        except (EttinError, GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            log.write(traceback.format_exc())
            raise EttinError(
                f"Ray failed: {first_line(_origin(error))}", code="cluster-failed", log=folder.log
            ) from error


def _origin(error: BaseException) -> BaseException:
    """Return the first of the errors that led to one; Ray's own say only where it happened."""
    while earlier := getattr(error, "cause", None) or error.__cause__:
        error = earlier
    return error


@dataclass(frozen=True, slots=True)
class _Pool:
    """The workers of a job: the least and the most of them, and what each needs."""

    least: int
    most: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        sizes = str(self.most) if self.least == self.most else f"{self.least}-{self.most}"
        workers = "worker" if sizes == "1" else "workers"
        parts = [_counted(self.cpus, "CPU")] if self.cpus or not self.gpus else []
        parts += [_counted(self.gpus, "GPU")] if self.gpus else []
        return f"{sizes} {workers} of {' and '.join(parts)}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _connect(
    placement: Placement, units: int, log: TextIO, own: ExitStack, shared: ExitStack | None
) -> str:
    """Connect to a cluster, or start one on this machine, unless that is done; return where it is.

    Args:
        log: Receives what Ray prints about it.
        own: Disconnects when it is closed.
        shared: Does so instead, if later runs use the cluster too, which may have more units.

    Raises:
        EttinError: There is no cluster at the address.
    """
    import ray

    address = os.environ.get(ADDRESS) or "local"
    place = "on this machine" if address == "local" else f"at {address}"
    if ray.is_initialized():
        return place
    options: dict[str, Any] = {"address": address}
    if address == "local":
        # Only for what is started here; a running cluster has its own settings.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        if placement.workers:
            # One CPU more than the workers need, so that nothing waits for them.
            most = placement.workers[1]
            workers = min(most, units) if shared is None else most
            options["num_cpus"] = workers * _cpus(placement) + 1
    else:
        _require_reachable(address)
    (own if shared is None else shared).callback(_disconnect)
    with _signals_kept(), redirect_stderr(log):
        try:
            ray.init(**options, log_to_driver=False, configure_logging=False)
        except ConnectionError as error:
            raise _no_cluster(address) from error
    return place


def _disconnect() -> None:
    import ray

    with captured(Path(os.devnull)):
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _require_reachable(address: str) -> None:
    """Check that something listens at an address; Ray would try for more than a minute."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S):
            pass
    except (OSError, ValueError) as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str) -> EttinError:
    return EttinError(
        f"no Ray cluster at {ADDRESS}={address}", code="cluster-unreachable", address=address
    )


def _cpus(placement: Placement) -> int:
    return 1 if placement.cpus is None else placement.cpus


def _pool(placement: Placement, units: int) -> _Pool:
    """Return the workers for a number of units.

    Raises:
        EttinError: No node of the cluster has room for a worker.
    """
    import ray

    listed: Any = ray.nodes
    nodes = [node["Resources"] for node in listed() if node["Alive"]]
    found = int(sum(node.get("GPU", 0) for node in nodes))
    gpus = placement.gpus if placement.gpus is not None else min(found, 1)
    cpus = _cpus(placement)
    room = sum(_room(node, cpus, gpus) for node in nodes)
    if not room:
        needed = " and ".join(
            _counted(number, what) for number, what in ((cpus, "CPU"), (gpus, "GPU")) if number
        )
        raise EttinError(f"no node of the Ray cluster has {needed}", code="cluster-too-small")
    spare = room if gpus else max(1, room - 1)
    least, most = placement.workers or (spare, spare)
    return _Pool(min(least, room, units), min(most, units), cpus, gpus)


def _room(node: dict[str, float], cpus: int, gpus: int) -> int:
    """Return how many workers fit on a node."""
    kinds = [(node.get(kind, 0), needed) for kind, needed in (("CPU", cpus), ("GPU", gpus))]
    return min((int(there // needed) for there, needed in kinds if needed), default=1)


def _receipts(pool: _Pool, begun: bytes, units: Sequence[Unit]) -> Iterator[Receipt]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # A unit may take longer than the half hour after which Ray Data gives up.
    context.execution_no_progress_timeout_s = -1
    items = [{"unit": pickle.dumps(unit)} for unit in units]
    receipts = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        RayWorker,
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(
            min_size=pool.least, max_size=pool.most, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        fn_constructor_args=(begun,),
    )
    for row in receipts.iter_rows():
        yield pickle.loads(row["receipt"])
