"""`python -m nasoa_operator.install --namespace NS --tenant A --tenant B | kubectl apply -f -`."""

from __future__ import annotations

import argparse
import sys

import yaml

from nasoa_operator.crd import crd
from nasoa_operator.install import manifests
from nasoa_operator.settings import Settings
from nasoa_runtime.api.kinds import KINDS


def main() -> None:
    """Print the manifests as YAML."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m nasoa_operator.install", description="Print what a cluster needs.")
    parser.add_argument("--namespace", default=defaults.namespace, help="where the operator runs")
    parser.add_argument("--tenant", action="append", default=[], help="namespace in which Jobs may run (repeatable)")
    parser.add_argument("--image", default=defaults.pod_image, help="the only image that Jobs may run")
    parser.add_argument("--crds", action="store_true", help="print the CRDs too, first")
    arguments = parser.parse_args()
    documents = [crd(kind) for kind in KINDS] if arguments.crds else []
    documents += manifests(arguments.namespace, arguments.tenant, arguments.image, health_port=defaults.health_port)
    yaml.safe_dump_all(documents, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
