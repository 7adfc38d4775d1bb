"""Where the units of a job are done, and by how many workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

from ettin_cli.errors import InvalidArgumentError

LOCAL, RAY = "local", "ray"
ADDRESS = "RAY_ADDRESS"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the units are done.

    Args:
        on: LOCAL (in this process) or RAY.
        workers: The least and the most workers; None: by the cluster's GPUs, else by its CPUs.
        cpus: CPUs per worker; None: 1.
        gpus: GPUs per worker; None: 1 if the cluster has any.
    """

    on: str = LOCAL
    workers: tuple[int, int] | None = None
    cpus: int | None = None
    gpus: int | None = None


def check_placement(placement: Placement) -> None:
    """Check that units can be done there, as far as that is known without a cluster.

    Raises:
        InvalidArgumentError: The address of the cluster is one of Ray Client or of its dashboard,
            or the extra `ray` is not installed.
    """
    if placement.on != RAY:
        return
    address = os.environ.get(ADDRESS, "")
    if "://" in address:
        raise InvalidArgumentError(
            f"{ADDRESS}={address} is not the address of a cluster's head node",
            code="not-a-cluster",
            address=address,
        )
    if find_spec("ray") is None:
        raise InvalidArgumentError(
            "Ray is not installed",
            code="missing-package",
            package="ettin-cli[ray]",
        )
