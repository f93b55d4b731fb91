"""The control plane's processes: a pure function of where files lie, which ports are free and which programs to run."""

from collections.abc import Mapping
from pathlib import Path

from .certificates import Authority, Pair, SigningKey, write_private
from .components import Component, Health
from .kubeconfig import ApiServer, with_certificate, write
from .layout import Layout

LOOPBACK = "127.0.0.1"
_SERVICES = "10.96.0.0/16"
# What the API server calls itself inside the cluster: the first address of the service range, and its service names.
_HOSTS = (
    LOOPBACK,
    "10.96.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_COMPONENT_USERS = {
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
}


def make_credentials(layout: Layout, ports: Mapping[str, int]) -> None:
    """Makes keys and certificates where there are none, and kubeconfigs that name the ports of today."""
    pki = layout.pki
    if not (pki / "complete").exists():
        authority = Authority.create("devcluster")
        authority.pair.write(pki, "ca")
        authority.server("kube-apiserver", _HOSTS).write(pki, "apiserver")
        authority.server("component", (LOOPBACK, "localhost")).write(pki, "component")
        authority.client("kube-apiserver-kubelet-client", "system:masters").write(pki, "kubelet-client")
        authority.client("devcluster-admin", "system:masters").write(pki, "admin")
        for name, user in _COMPONENT_USERS.items():
            authority.client(user).write(pki, name)
        # Whoever may write to etcd is above every rule: it trusts an authority that signs for the API server alone.
        store = Authority.create("devcluster-etcd")
        store.pair.write(pki, "etcd-ca")
        store.server("etcd", (LOOPBACK,)).write(pki, "etcd")
        store.client("kube-apiserver").write(pki, "etcd-client")
        tokens = SigningKey.create()
        write_private(pki / "service-accounts.key", tokens.private)
        (pki / "service-accounts.pub").write_bytes(tokens.public)
        (pki / "complete").touch()
    server = api_server(layout, ports)
    write(layout.kubeconfig, with_certificate(server, "devcluster-admin", Pair.read(pki, "admin")))
    for name, user in _COMPONENT_USERS.items():
        write(layout.kubeconfigs / name, with_certificate(server, user, Pair.read(pki, name)))


def api_server(layout: Layout, ports: Mapping[str, int]) -> ApiServer:
    """How the API server is reached."""
    return ApiServer(f"https://{LOOPBACK}:{ports['apiserver']}", (layout.pki / "ca.crt").read_bytes())


def etcd(layout: Layout, ports: Mapping[str, int], programs: Mapping[str, Path]) -> Component:
    """The store."""
    pki = layout.pki
    client, peer = (f"https://{LOOPBACK}:{ports[name]}" for name in ("etcd", "etcd-peer"))
    flags = {
        "name": "devcluster",
        "data-dir": layout.etcd,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"devcluster={peer}",
        "listen-metrics-urls": f"http://{LOOPBACK}:{ports['etcd-metrics']}",
        "cert-file": pki / "etcd.crt",
        "key-file": pki / "etcd.key",
        "trusted-ca-file": pki / "etcd-ca.crt",
        "peer-cert-file": pki / "etcd.crt",
        "peer-key-file": pki / "etcd.key",
        "peer-trusted-ca-file": pki / "etcd-ca.crt",
        "client-cert-auth": "true",
        "peer-client-cert-auth": "true",
        # The data need not survive a power cut, and disks of test machines are slow.
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    health = Health(ports["etcd-metrics"], "/health", tls=False)
    return Component("etcd", _arguments(programs["etcd"], flags), health, grace_seconds=5.0)


def kube_apiserver(layout: Layout, ports: Mapping[str, int], programs: Mapping[str, Path]) -> Component:
    """The API server, with RBAC, the node authorizer and service accounts."""
    pki = layout.pki
    flags = {
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,
        "secure-port": ports["apiserver"],
        "etcd-servers": f"https://{LOOPBACK}:{ports['etcd']}",
        "etcd-cafile": pki / "etcd-ca.crt",
        "etcd-certfile": pki / "etcd-client.crt",
        "etcd-keyfile": pki / "etcd-client.key",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": _SERVICES,
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "service-accounts.pub",
        "service-account-signing-key-file": pki / "service-accounts.key",
        "kubelet-client-certificate": pki / "kubelet-client.crt",
        "kubelet-client-key": pki / "kubelet-client.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        # It is alone, and would otherwise refuse to announce a loopback address.
        "endpoint-reconciler-type": "none",
        "profiling": "false",
    }
    health = Health(ports["apiserver"], "/readyz")
    return Component("kube-apiserver", _arguments(programs["kube-apiserver"], flags), health)


def kube_controller_manager(layout: Layout, ports: Mapping[str, int], programs: Mapping[str, Path]) -> Component:
    """The controllers. The default of 20 requests a second would cap Jobs at about four a second."""
    flags = {
        **_client_flags(layout, ports, "controller-manager"),
        "root-ca-file": layout.pki / "ca.crt",
        "service-account-private-key-file": layout.pki / "service-accounts.key",
        "use-service-account-credentials": "true",
        "cluster-signing-cert-file": layout.pki / "ca.crt",
        "cluster-signing-key-file": layout.pki / "ca.key",
        "kube-api-qps": 500,
        "kube-api-burst": 1000,
        "concurrent-job-syncs": 20,
    }
    health = Health(ports["controller-manager"], "/healthz")
    return Component("kube-controller-manager", _arguments(programs["kube-controller-manager"], flags), health)


def kube_scheduler(layout: Layout, ports: Mapping[str, int], programs: Mapping[str, Path]) -> Component:
    """The scheduler."""
    flags = {**_client_flags(layout, ports, "scheduler"), "kube-api-qps": 500, "kube-api-burst": 1000}
    health = Health(ports["scheduler"], "/healthz")
    return Component("kube-scheduler", _arguments(programs["kube-scheduler"], flags), health)


def _client_flags(layout: Layout, ports: Mapping[str, int], name: str) -> dict[str, object]:
    return {
        "kubeconfig": layout.kubeconfigs / name,
        "bind-address": LOOPBACK,
        "secure-port": ports[name],
        "tls-cert-file": layout.pki / "component.crt",
        "tls-private-key-file": layout.pki / "component.key",
        # One of each runs, so there is nobody to agree with; and losing a lease would end it.
        "leader-elect": "false",
        "profiling": "false",
    }


def _arguments(program: Path, flags: Mapping[str, object]) -> tuple[str, ...]:
    return (str(program), *(f"--{name}={value}" for name, value in flags.items()))
