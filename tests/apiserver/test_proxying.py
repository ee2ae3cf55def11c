"""A node agent that only echoes stands behind the real server."""

import asyncio
import base64
import ssl

import aiohttp
import pytest
from aiohttp import web

from sparsam.apiserver.pki import ensure_pki, node_serving_identity
from tests.support.apiserver import SANS, free_port, serving
from tests.support.http import http_client

PODS = "/api/v1/namespaces/default/pods"


async def logs(request):
    answer = web.StreamResponse(headers={"content-type": "text/plain"})
    await answer.prepare(request)
    await answer.write(f"{request.path_qs}\n".encode())
    if request.match_info["container"] == "missing":
        return answer
    for number in range(3):
        await answer.write(f"line {number}\n".encode())
        await asyncio.sleep(0)
    return answer


async def echo(request):
    socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"))
    await socket.prepare(request)
    await socket.send_bytes(b"\x01" + request.path_qs.encode())
    async for message in socket:
        await socket.send_bytes(b"\x01" + message.data)
        if message.data == b"\x00bye":
            await socket.close()
    return socket


async def refuse(_request):
    return web.Response(status=400, text="container is not running")


async def hello(request):
    subject = request.transport.get_extra_info("ssl_object").getpeercert()["subject"]
    return web.json_response(
        {"method": request.method, "subject": str(subject), "auth": request.headers.get("authorization")}
    )


@pytest.fixture
async def cluster(tmp_path):
    async with serving(tmp_path, nodes=("n1",)) as server:
        ensure_pki(server.pki_dir, sans=SANS, identities=[node_serving_identity("n1", "127.0.0.1")])
        app = web.Application()
        app.router.add_get("/containerLogs/{ns}/{pod}/refused", refuse)
        app.router.add_get("/containerLogs/{ns}/{pod}/{container}", logs)
        app.router.add_get("/exec/{ns}/{pod}/{container}", echo)
        app.router.add_get("/attach/{ns}/{pod}/refused", refuse)
        app.router.add_get("/portForward/{ns}/{pod}", echo)
        app.router.add_route("*", "/hello", hello)
        app.router.add_get("/page", page)
        app.router.add_get("/packed/", packed)
        app.router.add_get("/moved", moved)
        runner, port = web.AppRunner(app), free_port()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=agent_tls(server.pki_dir)).start()
        async with http_client(server) as http:
            await add_node_and_pod(http, port)
            yield http
        await runner.cleanup()


def agent_tls(pki_dir):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki_dir / "node-n1-serving.crt", pki_dir / "node-n1-serving.key")
    context.load_verify_locations(pki_dir / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def add_node_and_pod(http, port):
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    await http("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    merge = "application/merge-patch+json"
    code, node = await http("PATCH", "/api/v1/nodes/n1/status", {"status": status}, content_type=merge)
    assert code == 200, node
    containers = [{"name": name, "image": "i"} for name in ("c", "refused")]
    for name in ("p", "unbound"):
        code, pod = await http("POST", PODS, {"metadata": {"name": name}, "spec": {"containers": containers}})
        assert code == 201, pod
    await http("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}})


async def test_logs_are_streamed_with_their_options(cluster):
    code, text = await cluster("GET", f"{PODS}/p/log?container=c&tailLines=5&follow=true&timestamps=false")
    assert code == 200
    assert text == "/containerLogs/default/p/c?follow=true&tailLines=5\nline 0\nline 1\nline 2\n"


async def test_the_container_must_be_named_when_there_are_several(cluster):
    code, status = await cluster("GET", f"{PODS}/p/log")
    assert code == 400
    assert status["message"] == "a container name must be specified for pod p, choose one of: [c refused]"
    code, status = await cluster("GET", f"{PODS}/p/log?container=zap")
    assert (code, status["message"]) == (400, "container zap is not valid for pod p")


async def test_a_pod_without_a_node_has_no_log(cluster):
    assert await cluster("GET", f"{PODS}/unbound/log?container=c") == (200, "")
    assert (await cluster("GET", f"{PODS}/none/log"))[0] == 404


@pytest.mark.parametrize("protocols", [["binary.k8s.io"], ["base64.binary.k8s.io"], []])
async def test_a_log_comes_over_a_websocket_too(cluster, protocols):
    said = b""
    url = f"{cluster.server.url}{PODS}/p/log?container=c&tailLines=5"
    async with cluster.session.ws_connect(url, protocols=protocols) as socket:
        assert socket.protocol == (protocols[0] if protocols else None)
        async for message in socket:
            said += base64.b64decode(message.data) if message.type is aiohttp.WSMsgType.TEXT else message.data
        assert socket.close_code == 1000
    assert said == b"/containerLogs/default/p/c?tailLines=5\nline 0\nline 1\nline 2\n"


@pytest.mark.parametrize("query", ["tailLines=-1", "sinceSeconds=0", "limitBytes=0"])
async def test_log_options_have_their_ranges(cluster, query):
    assert (await cluster("GET", f"{PODS}/p/log?container=c&{query}"))[0] == 422


async def test_a_refusal_of_the_agent_is_told(cluster):
    code, status = await cluster("GET", f"{PODS}/p/log?container=refused")
    assert (code, status["message"]) == (400, "container is not running")


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"])
async def test_exec_carries_messages_both_ways(cluster, protocol):
    url = f"{cluster.server.url}{PODS}/p/exec?container=c&command=sh&command=-c&stdin=true&stdout=true&tty=true"
    async with cluster.session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        first = await socket.receive_bytes()
        assert first == b"\x01/exec/default/p/c?command=sh&command=-c&input=1&output=1&tty=1"
        await socket.send_bytes(b"\x00typed")
        assert await socket.receive_bytes() == b"\x01\x00typed"
        await socket.send_bytes(b"\x00bye")
        assert await socket.receive_bytes() == b"\x01\x00bye"
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_port_forward_needs_no_container(cluster):
    url = f"{cluster.server.url}{PODS}/p/portforward?ports=80"
    async with cluster.session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
        assert await socket.receive_bytes() == b"\x01/portForward/default/p?ports=80"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("p/exec?container=c", 400),
        ("p/attach?container=refused", 400),
        ("none/exec?command=x", 404),
        ("unbound/exec?container=c&command=x", 400),
        ("p/log?container=c", 400),
        ("p/status", 404),
    ],
)
async def test_a_socket_that_leads_nowhere_is_refused(cluster, path, code):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await cluster.session.ws_connect(f"{cluster.server.url}{PODS}/{path}", protocols=["v5.channel.k8s.io"])
    assert caught.value.status == code


async def test_spdy_is_refused_by_name(cluster):
    code, status = await cluster(
        "POST", f"{PODS}/p/exec?command=x&container=c", connection="Upgrade", upgrade="SPDY/3.1"
    )
    assert code == 400
    assert "SPDY" in status["message"]


async def test_a_node_is_reached_through_its_proxy_without_the_clients_credentials(cluster):
    code, answer = await cluster("POST", "/api/v1/nodes/n1/proxy/hello", {}, x_any="1")
    assert (code, answer["method"], answer["auth"]) == (200, "POST", None)
    assert "kube-apiserver-kubelet-client" in answer["subject"]
    assert (await cluster("GET", "/api/v1/nodes/none/proxy/hello"))[0] == 404


PAGE = '<a href="/rewriteme">test</a>'
PROXY = "/api/v1/nodes/n1/proxy"


async def page(_request):
    return web.Response(text=PAGE, content_type="text/html")


async def packed(request):
    answer = await page(request)
    answer.enable_compression(web.ContentCoding.gzip)
    return answer


async def moved(_request):
    raise web.HTTPFound("/page")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_goes_through_a_proxy(cluster, method):
    code, answer = await cluster(method, f"{PROXY}/hello")
    assert (code, answer["method"]) == (200, method)


async def test_a_proxy_without_a_slash_at_its_end_leads_to_one_with_it(cluster):
    for method in ("GET", "HEAD"):
        url = f"{cluster.server.url}{PROXY}?x=1"
        async with cluster.session.request(method, url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (301, f"{PROXY}/?x=1")
    assert (await cluster("TRACE", f"{PROXY}/hello"))[0] == 405


async def test_links_lead_through_the_proxy_again(cluster):
    rewritten = f'<a href="{PROXY}/rewriteme">test</a>'
    assert await cluster("GET", f"{PROXY}/page") == (200, rewritten)
    assert await cluster("GET", f"{PROXY}/packed/") == (200, rewritten)
    async with cluster.session.get(f"{cluster.server.url}{PROXY}/moved", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (302, f"{PROXY}/page")


async def test_an_agent_that_is_away_is_service_unavailable(cluster):
    status = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": free_port()}}}}
    await cluster("PATCH", "/api/v1/nodes/n1/status", status, content_type="application/merge-patch+json")
    assert (await cluster("GET", f"{PODS}/p/log?container=c"))[0] == 503


async def test_a_pod_that_claims_to_be_this_machine_is_not_followed(cluster):
    status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    await cluster("PATCH", f"{PODS}/p/status", status, content_type="application/merge-patch+json")
    code, answer = await cluster("GET", f"{PODS}/p:80/proxy/")
    assert (code, answer["message"]) == (400, "address not allowed")
