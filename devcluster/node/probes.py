"""HTTP and TCP probes of containers. Exec and gRPC probes are not run."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp

JSON = dict[str, Any]


def supported(probe: JSON | None) -> bool:
    """Whether the node can run this probe."""
    return bool(probe) and ("httpGet" in (probe or {}) or "tcpSocket" in (probe or {}))


def port_number(port: int | str, container: JSON) -> int:
    """Returns the number of a port that may be given by the name it has in the container."""
    if isinstance(port, str) and not port.isdigit():
        return next((int(one["containerPort"]) for one in container.get("ports") or () if one.get("name") == port), 0)
    return int(port)


async def succeeds(probe: JSON, container: JSON, address: str) -> bool:
    """Runs a probe once, against the pod's address unless the probe names a host."""
    seconds = probe.get("timeoutSeconds") or 1
    action = probe.get("httpGet") or probe["tcpSocket"]
    host, port = action.get("host") or address, port_number(action["port"], container)
    with suppress(OSError, aiohttp.ClientError, TimeoutError, ValueError):
        if "tcpSocket" in probe:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return True
        url = f"{action.get('scheme', 'HTTP').lower()}://{host}:{port}/{action.get('path', '/').lstrip('/')}"
        headers = {one["name"]: one["value"] for one in action.get("httpHeaders") or ()}
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # As for a kubelet, the certificate does not matter to a probe.
            session.get(url, headers=headers, ssl=False) as answer,
        ):
            return 200 <= answer.status < 400
    return False


async def until_started(probe: JSON, container: JSON, address: str) -> bool:
    """Runs a startup probe; returns whether it succeeded before its failure threshold."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    for _ in range(probe.get("failureThreshold") or 3):
        if await succeeds(probe, container, address):
            return True
        await asyncio.sleep(probe.get("periodSeconds") or 10)
    return False


async def observe(probe: JSON, container: JSON, address: str, changed: Callable[[bool], None]) -> None:
    """Runs a probe for ever; tells each result that stands after as many repetitions as its threshold says."""
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    streak, last = 0, None
    while True:
        result = await succeeds(probe, container, address)
        streak = streak + 1 if result == last else 1
        last = result
        threshold = (probe.get("successThreshold") or 1) if result else (probe.get("failureThreshold") or 3)
        if streak == threshold:
            changed(result)
        await asyncio.sleep(probe.get("periodSeconds") or 10)
