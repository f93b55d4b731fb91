"""``python -m demo``: cluster, S3 and operator up; a search; requests; and what came of it all."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, RenderableType
from rich.live import Live

from demo import environment, report, watch
from demo.cluster import OPERATOR, start_cluster
from demo.datasets import DATASETS
from demo.packages import DataUnavailableError
from devcluster import Cluster

SEARCH_SECONDS = 900.0
REQUEST_SECONDS = 600.0
REQUESTS_AT_ONCE = 2
PLAIN_WIDTH = 150
"""Columns where the output is no terminal."""
OUTPUT = environment.ROOT / "demo-output"


def names(path: Path) -> tuple[str, ...]:
    """Names of the objects in a YAML file."""
    return tuple(document["metadata"]["name"] for document in yaml.safe_load_all(path.read_text()) if document)


class Demo:
    """The steps of the demo, in order, on one cluster."""

    def __init__(self, console: Console, cluster: Cluster, directory: Path) -> None:
        self.console = console
        self.cluster = cluster
        self.directory = directory
        self.log = directory / "operator.log"
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        """One line of progress, with the time since the start."""
        self.console.print(f"[dim]{time.monotonic() - self.started:6.1f} s[/]  {text}", highlight=False)

    def prepare(self) -> None:
        """Everything that an administrator and a tenant have before the first object."""
        environment.install(self.cluster)
        self.say("CRDs, rights, admission policies and the tenant's namespace are installed")
        count = environment.write_fashion(self.cluster, self.directory / "fashion-mnist")
        self.say(f"{count} images of Fashion-MNIST are on a volume, for the search")
        environment.import_extractor(self.cluster)
        self.say("EfficientNet-Lite0 (ImageNet weights) is imported as the feature space of domain similarity")

    def search(self, operator: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Apply the search, and follow it to its zoo."""
        path = environment.EXAMPLES / "search.yaml"
        self.cluster.kubectl("apply", "-f", str(path))
        self.say("kubectl apply -f examples/search.yaml")
        found = self._follow("nassearch", names(path), watch.search_view, SEARCH_SECONDS, operator)[0]
        self._expect([found])
        self.say(found["status"]["message"])
        return found

    def requests(self, operator: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
        """Apply the requests, two at a time: each later one is planned with what the earlier ones have taught."""
        path = environment.EXAMPLES / "requests.yaml"
        waiting = [document for document in yaml.safe_load_all(path.read_text()) if document]

        def feed(found: list[dict[str, Any]]) -> None:
            running = sum(watch.phase(o) not in watch.ENDED for o in found)
            while waiting and running < REQUESTS_AT_ONCE:
                document = waiting.pop(0)
                environment.apply(self.cluster, [document])
                name, limit = document["metadata"]["name"], document["spec"]["timeLimit"]
                self.say(f"kubectl apply: {name} ({self._describe(document)}), time limit {limit}")
                running += 1

        view = watch.requests_view
        found = self._follow("finetunerequest", names(path), view, REQUEST_SECONDS, operator, feed)
        self._expect(found)
        return found

    def _describe(self, document: dict[str, Any]) -> str:
        """What a request's data is."""
        folder = document["spec"]["dataset"]["uri"].rsplit("/", 1)[-1]
        return next(d.description for d in DATASETS if d.name == folder)

    def show(self, search: dict[str, Any], requests: list[dict[str, Any]]) -> None:
        """The zoo, the table of predicted against achieved accuracy, and the picture."""
        store = environment.store_of(self.cluster, self.cluster.s3.keys[OPERATOR])
        zoo = json.loads(environment.nasoa(self.cluster, "zoo", "show", search["spec"]["zoo"]["name"], "--json"))
        self.console.print()
        report.print_zoo(self.console, zoo)
        self.console.print()
        report.print_requests(self.console, requests)
        picture = OUTPUT / "pareto-front.png"
        report.draw_front(report.evaluated(store, search["metadata"]["uid"]), zoo["models"], picture)
        self.console.print(f"\nPareto front: {picture.relative_to(environment.ROOT)}", highlight=False)
        self.console.print("\n[bold]kubectl get nassearch,finetunerequest[/]")
        shown = self.cluster.kubectl("get", "nassearch,finetunerequest", "-n", environment.TENANT_NAMESPACE)
        self.console.print(shown.stdout, highlight=False, soft_wrap=True)

    def _follow(
        self,
        kind: str,
        wanted: tuple[str, ...],
        view: Callable[[list[dict[str, Any]]], RenderableType],
        seconds: float,
        operator: subprocess.Popen[bytes],
        feed: Callable[[list[dict[str, Any]]], None] = lambda _: None,
    ) -> list[dict[str, Any]]:
        def alive() -> None:
            if operator.poll() is not None:
                msg = f"the operator has ended with {operator.returncode}:\n{self.log.read_text()[-3000:]}"
                raise RuntimeError(msg)

        if not self.console.is_terminal:
            show = [feed, self._tell_changes()]
            return watch.follow(self.cluster, kind, wanted, show, seconds, alive)
        with Live(console=self.console, refresh_per_second=2) as live:
            show = [feed, lambda found: live.update(view(found))]
            return watch.follow(self.cluster, kind, wanted, show, seconds, alive)

    def _tell_changes(self) -> Callable[[list[dict[str, Any]]], None]:
        """Where nothing can be drawn anew, a line for each change of what an object says of itself."""
        said: dict[str, str] = {}

        def tell(found: list[dict[str, Any]]) -> None:
            for manifest in found:
                name, message = manifest["metadata"]["name"], manifest.get("status", {}).get("message", "")
                if message and said.get(name) != message:
                    said[name] = message
                    self.say(f"{name}: {watch.phase(manifest)}: {message}")

        return tell

    def _expect(self, found: list[dict[str, Any]]) -> None:
        """All that was waited for must have succeeded."""
        failed = [o for o in found if watch.phase(o) != "Succeeded"]
        if failed:
            words = "; ".join(f"{o['metadata']['name']}: {o['status'].get('message')}" for o in failed)
            raise RuntimeError(words)


def run(console: Console, *, keep: bool) -> None:
    """The whole demo; the cluster ends with it unless it is to be kept."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nasoa-demo-")))
        cluster = stack.enter_context(
            start_cluster(directory / "cluster", name="demo", progress=lambda text: console.print(f"[dim]{text}[/]"))
        )
        demo = Demo(console, cluster, directory)
        demo.say("a Kubernetes control plane, a node and S3 are up")
        uploads = stack.enter_context(ThreadPoolExecutor(1)).submit(environment.upload_all, cluster)
        demo.prepare()
        operator = stack.enter_context(environment.operator(cluster, demo.log))
        demo.say("the operator runs under its own service account")
        search = demo.search(operator)
        demo.say(f"{uploads.result()} images are in the tenant's bucket, for the requests")
        requests = demo.requests(operator)
        demo.show(search, requests)
        demo.say("done")
        if keep:
            wait_for_the_end(console, cluster, operator)


def wait_for_the_end(console: Console, cluster: Cluster, operator: subprocess.Popen[bytes]) -> None:
    """Leave everything running until Ctrl-C."""
    settings = OUTPUT / "environment.sh"
    settings.write_text(environment.shell_settings(cluster))
    console.print(
        "\nEverything keeps running. In another terminal:\n\n"
        f"  source {settings.relative_to(environment.ROOT)}\n"
        "  kubectl get nassearch,finetunerequest\n"
        "  kubectl describe finetunerequest digits\n"
        "  nasoa zoo list\n"
        "  nasoa predictor show fashion\n\n"
        f"The kubeconfig is {cluster.kubeconfig}. Ctrl-C here ends everything.",
        highlight=False,
        soft_wrap=True,
    )
    try:
        operator.wait()
    finally:
        settings.unlink()


def main() -> int:
    """Run the demo; 0 if everything in it succeeded."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    arguments = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    # A demo that is told to end must take its cluster with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(console, keep=arguments.keep)
    except KeyboardInterrupt:
        console.print("\nended")
        return 0 if arguments.keep else 130
    except (RuntimeError, watch.TookTooLongError, DataUnavailableError) as error:
        console.print(f"\n[bold red]The demo has failed:[/] {error}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
