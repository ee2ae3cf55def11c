"""Lifecycle hooks: postStart and preStop as command, HTTP request or sleep."""

from __future__ import annotations

import asyncio

from sparsam.agent.checks import check_http
from sparsam.agent.cri import Cri
from sparsam.agent.podspec import Obj
from sparsam.agent.probing import Attempt
from sparsam.agent.runtime import RuntimeFault

_LONGEST_HOOK_SECONDS = 3600.0


async def run_hook(
    hook: Obj, spec: Obj, *, cri: Cri, container_id: str, ip: str, limit_seconds: float | None
) -> Attempt:
    """Run a hook to its end, or until the limit; an HTTP answer of any status is fine, as upstream."""
    limit = limit_seconds if limit_seconds is not None else _LONGEST_HOOK_SECONDS
    if "sleep" in hook:
        await asyncio.sleep(min(float(hook["sleep"].get("seconds") or 0), limit))
        return Attempt(True)
    if "exec" in hook:
        command = hook["exec"].get("command") or []
        try:
            result = await cri.exec(container_id, command, max(1.0, limit))
        except RuntimeFault as error:
            return Attempt(False, str(error))
        output = result.output.decode(errors="replace")
        message = f"command '{' '.join(command)}' exited with {result.exit_code}: {output}"
        return Attempt(result.exit_code == 0, "" if result.exit_code == 0 else message)
    if "httpGet" in hook:
        try:
            attempt = await check_http(hook["httpGet"], spec, ip, limit)
        except ValueError as error:
            return Attempt(False, str(error))
        return attempt if not attempt.message.startswith("HTTP probe failed") else Attempt(True)
    return Attempt(False, f"invalid handler: {', '.join(hook)}")
