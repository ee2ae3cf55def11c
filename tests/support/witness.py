"""Pods whose containers bear witness: each start, probe, hook and overlap is a line in a file of the node.

Every container holds a lock of its own for its whole life, so two lives of one container at a time show as `overlap`.
The main container looks at the others' locks when it starts: an init container that still runs, or a sidecar that
does not, shows as `early`.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsam.agent.images import ImageConfig, ImageFile, build_image, busybox_entries

Obj = dict[str, Any]
IMAGE = "localhost/test/witness:1"
_FLOCK = Path("/usr/bin/flock")
"""Debian's, since its static busybox has none."""
HOLD = "trap 'say stop; exit 0' TERM; sleep 3600 9>&- & wait"

_WITNESS = """
id=$(cat /proc/sys/kernel/random/uuid)
say() { echo "$1 $POD $C $id" >> /witness/log; }
exec 9>>/witness/$POD.$C
flock -n 9 || say overlap
say start
"""
_AFTER_INIT = """
for i in i1 i2; do flock -n /witness/$POD.$i true || say early; done
"""
_WITH_SIDECAR = """
flock -n /witness/$POD.s true && say early
"""


def entries() -> list[ImageFile]:
    """A root file system with a shell and `flock`."""
    listed = subprocess.run(["ldd", str(_FLOCK)], capture_output=True, text=True, check=True).stdout
    files = [str(_FLOCK), *re.findall(r"(/\S+) \(0x", listed)]
    folders = sorted({str(parent) for file in files for parent in Path(file).parents} - {"/"}, key=len)
    return [
        *busybox_entries(),
        *(ImageFile(folder) for folder in folders),
        *(ImageFile(file, source=Path(file)) for file in files),
    ]


def archive(target: Path) -> Path:
    """The image of the witnesses."""
    return build_image(IMAGE, entries(), target, ImageConfig(env={"PATH": "/bin:/usr/bin"}))


@dataclass(frozen=True)
class Line:
    """One statement."""

    what: str
    uid: str
    container: str
    run: str = ""


class Witness:
    """Reads what was stated; `new` gives only what came since it was last called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "log"
        self._log.touch()

    def lines(self) -> list[Line]:
        return [Line(*line.split()) for line in self._log.read_text().splitlines()]

    def said(self, what: str, uid: str, container: str = "") -> bool:
        return any(
            line.what == what
            and line.uid == uid
            and line.container in (container, line.container if not container else "")
            for line in self.lines()
        )

    def starts(self) -> Counter[tuple[str, str]]:
        """How often each container of each pod started."""
        return Counter((line.uid, line.container) for line in self.lines() if line.what == "start")

    def complaints(self) -> list[Line]:
        return [line for line in self.lines() if line.what in ("overlap", "early")]


def container(name: str, script: str, **fields: Any) -> Obj:
    uid = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    return {
        "name": name,
        "image": IMAGE,
        "command": ["sh", "-c", _WITNESS + script],
        "env": [uid, {"name": "C", "value": name}],
        "volumeMounts": [{"name": "witness", "mountPath": "/witness"}],
        **fields,
    }


def pod(name: str, containers: Iterable[Obj], directory: Path, *, volumes: Iterable[Obj] = (), **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "storm"}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": list(containers),
            "volumes": [{"name": "witness", "hostPath": {"path": str(directory)}}, *volumes],
            **spec,
        },
    }


def _exec(command: str) -> Obj:
    return {"exec": {"command": ["sh", "-c", command]}}


def plain(name: str, directory: Path) -> Obj:
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    return pod(name, [container("c", HOLD, resources=resources)], directory)


def pulled(name: str, directory: Path, image: str) -> Obj:
    return pod(name, [container("c", HOLD, image=image, imagePullPolicy="Always")], directory)


def probed(name: str, directory: Path) -> Obj:
    probes = {
        "startupProbe": {**_exec("test -e /tmp/up"), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**_exec('echo "probe $POD $C" >> /witness/log'), "periodSeconds": 1, "timeoutSeconds": 20},
        "livenessProbe": {**_exec("true"), "periodSeconds": 1, "failureThreshold": 20, "timeoutSeconds": 20},
    }
    return pod(name, [container("c", "sleep 0.3; touch /tmp/up\n" + HOLD, **probes)], directory)


def initialised(name: str, directory: Path) -> Obj:
    inits = [container("i1", "sleep 0.4 9>&-"), container("i2", "sleep 0.3 9>&-")]
    return pod(name, [container("c", _AFTER_INIT + HOLD)], directory, initContainers=inits)


def voluminous(name: str, directory: Path) -> Obj:
    volumes = [
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "secret", "secret": {"secretName": "storm"}},
        {"name": "config", "configMap": {"name": "storm"}},
        {"name": "image", "image": {"reference": IMAGE}},
    ]
    main = container("c", "test -s /v/config/key && test -s /v/secret/key || say early\n" + HOLD)
    main["volumeMounts"] += [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
    return pod(name, [main], directory, volumes=volumes)


def accompanied(name: str, directory: Path) -> Obj:
    hook = {"preStop": _exec('echo "stopping $POD $C" >> /witness/log; sleep 0.7')}
    sidecar = container("s", HOLD, restartPolicy="Always")
    main = container("c", _WITH_SIDECAR + HOLD, lifecycle=hook)
    return pod(name, [main], directory, initContainers=[sidecar], terminationGracePeriodSeconds=4)


def once(name: str, directory: Path) -> Obj:
    return pod(name, [container("c", "sleep 1 9>&-; say end")], directory, restartPolicy="Never")


def ephemeral() -> Obj:
    return container("e", "sleep 2 9>&-; say end")
