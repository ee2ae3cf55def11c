"""A Redfish service in a process of its own: BMCs of several vendors, with faults that a test switches on.

Run as a program it prints its port and serves until its input is closed. The trees are cut down to what a power meter
reads; names and shapes follow what the vendors' firmware answers (docs/metering.md lists the sources).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Json = dict[str, Any]
V1 = "/redfish/v1"
USER, PASSWORD = "reader", "s3cret"


def link(path: str) -> Json:
    return {"@odata.id": path}


def listing(*paths: str) -> Json:
    return {"Members": [link(path) for path in paths], "Members@odata.count": len(paths)}


def bios(**attributes: str) -> dict[str, Json]:
    """A system with these BIOS attributes."""
    system = f"{V1}/Systems/1"
    return {system: {"Bios": link(f"{system}/Bios")}, f"{system}/Bios": {"Attributes": attributes}}


def chassis(path: str, *names: str, system: str = f"{V1}/Systems/1", **fields: Any) -> Json:
    """A chassis that links to the named resources."""
    found = {"Id": path.rpartition("/")[2], **fields, **{name: link(f"{path}/{name}") for name in names}}
    if system:
        found["Links"] = {"ComputerSystems": [link(system)]}
    return found


def control(name: str, watts: Any) -> Json:
    return {"Name": name, "PowerConsumedWatts": watts, "Status": {"State": "Enabled", "Health": "OK"}}


def temperature(name: str, celsius: Any, context: str, state: str = "Enabled") -> Json:
    return {"Name": name, "ReadingCelsius": celsius, "PhysicalContext": context, "Status": {"State": state}}


def dell(watts: Any) -> dict[str, Json]:
    base = f"{V1}/Chassis/System.Embedded.1"
    return {
        V1: {"Vendor": "Dell", "Product": "Integrated Dell Remote Access Controller", "Oem": {"Dell": {}}},
        f"{V1}/Chassis": listing(f"{V1}/Chassis/Enclosure.Internal.0-1:RAID.Slot.6-1", base),
        f"{V1}/Chassis/Enclosure.Internal.0-1:RAID.Slot.6-1": chassis(
            f"{V1}/Chassis/Enclosure.Internal.0-1", system=""
        ),
        base: chassis(base, "Power", "Thermal", "EnvironmentMetrics", "Sensors", Manufacturer="Dell Inc."),
        **bios(SysProfile="PerfPerWattOptimizedDapc", WorkloadProfile="NotAvailable"),
        f"{base}/Power": {"PowerControl": [control("System Power Control", watts)]},
        f"{base}/EnvironmentMetrics": {"PowerWatts": {"Reading": watts}},
        f"{base}/Thermal": {
            "Temperatures": [
                temperature("CPU1 Temp", 75, "CPU"),
                temperature("System Board Inlet Temp", 22, "SystemBoard"),
                temperature("System Board Exhaust Temp", 33, "SystemBoard"),
            ],
            "Fans": [{"FanName": "System Board Fan1A", "Reading": 7080, "ReadingUnits": "RPM"}],
        },
    }


def dell_sensors(watts: Any) -> dict[str, Json]:
    """An iDRAC whose Power resource tells nothing."""
    tree = dell(None)
    base = f"{V1}/Chassis/System.Embedded.1"
    sensor = f"{base}/Sensors/SystemBoardPwrConsumption"
    tree[f"{base}/EnvironmentMetrics"] = {}
    tree[f"{base}/Sensors"] = listing(f"{base}/Sensors/CPU1Temp", sensor)
    tree[sensor] = {"Reading": watts, "ReadingUnits": "W", "ReadingType": "Power"}
    return tree


def hpe(watts: Any) -> dict[str, Json]:
    base = f"{V1}/Chassis/1"
    return {
        V1: {"Vendor": "HPE", "Product": "ProLiant DL380 Gen10", "Oem": {"Hpe": {}}},
        f"{V1}/Chassis": listing(f"{base}/"),
        base: {
            **chassis(base, Manufacturer="HPE", ChassisType="RackMount"),
            "Power": link(f"{base}/Power/"),
            "Thermal": link(f"{base}/Thermal/"),
        },
        **bios(WorkloadProfile="Virtualization-MaxPerformance"),
        f"{base}/Power": {"PowerControl": [{"PowerConsumedWatts": watts, "PowerCapacityWatts": 1600}]},
        f"{base}/Thermal": {
            "Temperatures": [temperature("01-Inlet Ambient", 23, "Intake"), temperature("02-CPU 1 PkgTmp", 36, "CPU")],
            "Fans": [
                {"Name": "Fan 1", "Reading": 14, "ReadingUnits": "Percent", "Status": {"State": "Enabled"}},
                {"Name": "Fan 2", "Status": {"State": "Absent"}},
            ],
        },
    }


def ilo4(watts: Any) -> dict[str, Json]:
    tree = hpe(watts)
    tree[V1] = {"Name": "HP RESTful Root Service", "Oem": {"Hp": {}}}
    tree[f"{V1}/Chassis/1/Power"] = {"Name": "PowerMetrics", "PowerConsumedWatts": watts}
    fans = [{"FanName": "Fan 1", "CurrentReading": 6, "Units": "Percent"}]
    tree[f"{V1}/Chassis/1/Thermal"] = {"Fans": fans, "Temperatures": [temperature("01-Inlet Ambient", 21, "Intake")]}
    return tree


def lenovo(watts: Any) -> dict[str, Json]:
    base = f"{V1}/Chassis/1"
    return {
        V1: {"Vendor": "Lenovo", "Oem": {"Lenovo": {}}},
        f"{V1}/Chassis": listing(base),
        base: chassis(base, "Power", "Thermal", Manufacturer="Lenovo"),
        **bios(OperatingModes_ChooseOperatingMode="Efficiency_FavorPower"),
        f"{base}/Power": {
            "PowerControl": [
                control("CPU Sub-system Power", 155),
                control("Memory Sub-system Power", 49),
                control("Server Power Control", watts),
            ]
        },
        f"{base}/Thermal": {
            "Temperatures": [temperature("Ambient Temp", 24, "Intake"), temperature("CPU 1 Temp", 50, "CPU")],
            "Fans": [{"Name": "Fan 1 Tach", "Reading": 5530, "ReadingUnits": "RPM"}],
        },
    }


def supermicro(watts: Any) -> dict[str, Json]:
    """One whose PowerControl is silent although its supplies know."""
    base = f"{V1}/Chassis/1"
    half = watts / 2 if isinstance(watts, int | float) else watts
    supplies = [
        {"MemberId": "0", "PowerInputWatts": half, "Status": {"State": "Enabled"}},
        {"MemberId": "1", "PowerInputWatts": half, "Status": {"State": "Enabled"}},
        {"MemberId": "2", "Status": {"State": "Absent"}},
    ]
    return {
        V1: {"Name": "Root Service", "Vendor": "Supermicro", "Oem": {"Supermicro": {}}},
        f"{V1}/Chassis": listing(base),
        base: chassis(base, "Power", "Thermal", Manufacturer="Supermicro"),
        f"{base}/Power": {"PowerControl": [control("System Power Control", 0)], "PowerSupplies": supplies},
        f"{base}/Thermal": {
            "Temperatures": [temperature("CPU1 Temp", 49, "CPU"), temperature("System Temp", 28, "SystemBoard")],
            "Fans": [{"Name": "FAN1", "Reading": 4200, "ReadingUnits": "RPM"}],
        },
    }


def fujitsu(watts: Any) -> dict[str, Json]:
    base = f"{V1}/Chassis/0"
    total = {"ChassisPowerConsumption": {"CurrentPowerConsumptionW": watts, "Designation": "Total Power"}}
    return {
        V1: {"Vendor": "FUJITSU", "Oem": {"ts_fujitsu": {}}},
        f"{V1}/Chassis": listing(base),
        base: chassis(base, "Power", "Thermal", Manufacturer="FUJITSU"),
        f"{base}/Power": {"Oem": {"ts_fujitsu": total}, "PowerControl": [{"Name": "Power Control"}]},
        f"{base}/Thermal": {"Temperatures": [temperature("Ambient", 25, "Intake")], "Fans": []},
    }


def openbmc(watts: Any) -> dict[str, Json]:
    """A build without the old resources."""
    board, base = f"{V1}/Chassis/riser", f"{V1}/Chassis/chassis"
    return {
        V1: {"Name": "Root Service", "Oem": {"OpenBmc": {}}},
        f"{V1}/Chassis": listing(board, base),
        board: chassis(board, "Sensors", system=""),
        base: chassis(
            base, "EnvironmentMetrics", "ThermalSubsystem", "PowerSubsystem", "Sensors", ChassisType="RackMount"
        ),
        f"{base}/EnvironmentMetrics": {
            "PowerWatts": {"Reading": watts, "DataSourceUri": f"{base}/Sensors/power_total_power"},
            "FanSpeedsPercent": [{"DataSourceUri": f"{base}/Sensors/fanpwm_fan0", "Reading": 45, "SpeedRPM": 9100}],
        },
        f"{base}/ThermalSubsystem": {"ThermalMetrics": link(f"{base}/ThermalSubsystem/ThermalMetrics")},
        f"{base}/ThermalSubsystem/ThermalMetrics": {
            "TemperatureReadingsCelsius": [
                {"DataSourceUri": f"{base}/Sensors/temperature_cpu0", "Reading": 61},
                {"DataSourceUri": f"{base}/Sensors/temperature_inlet", "Reading": 26.5},
            ]
        },
    }


def dmtf(watts: Any) -> dict[str, Json]:
    """A service of no known vendor that has the newest resources only."""
    base = f"{V1}/Chassis/1U"
    bays = [f"{base}/PowerSubsystem/PowerSupplies/Bay{index}" for index in (1, 2, 3)]
    half = watts / 2 if isinstance(watts, int | float) else watts
    tree = {
        V1: {"Name": "Root Service", "Vendor": "Contoso"},
        f"{V1}/Chassis": listing(base),
        base: chassis(base, "PowerSubsystem", "ThermalSubsystem", Manufacturer="Contoso"),
        f"{base}/PowerSubsystem": {"PowerSupplies": link(f"{base}/PowerSubsystem/PowerSupplies")},
        f"{base}/PowerSubsystem/PowerSupplies": listing(*bays),
        f"{base}/ThermalSubsystem": {"ThermalMetrics": link(f"{base}/ThermalSubsystem/ThermalMetrics")},
        f"{base}/ThermalSubsystem/ThermalMetrics": {"TemperatureSummaryCelsius": {"Intake": {"Reading": 24.8}}},
    }
    for bay in bays[:2]:
        tree[bay] = {"Metrics": link(f"{bay}/Metrics"), "Status": {"State": "Enabled"}}
        tree[f"{bay}/Metrics"] = {"InputPowerWatts": {"Reading": half}, "OutputPowerWatts": {"Reading": 1}}
    tree[bays[2]] = {"Status": {"State": "Absent"}}
    return tree


def two_nodes(watts: Any) -> dict[str, Json]:
    tree: dict[str, Json] = {
        V1: {"Vendor": "Contoso"},
        f"{V1}/Chassis": listing(f"{V1}/Chassis/A", f"{V1}/Chassis/B", f"{V1}/Chassis/Shelf"),
        f"{V1}/Chassis/Shelf": chassis(f"{V1}/Chassis/Shelf", "Power", system=""),
        f"{V1}/Chassis/Shelf/Power": {"PowerControl": [control("Shelf", 9999)]},
    }
    for name, own in (("A", watts), ("B", 77)):
        path = f"{V1}/Chassis/{name}"
        tree[path] = chassis(path, "Power", system=f"{V1}/Systems/{name}")
        tree[f"{path}/Power"] = {"PowerControl": [control("Node", own)]}
    return tree


def bare(_watts: Any) -> dict[str, Json]:
    return {V1: {"Name": "x"}, f"{V1}/Chassis": listing(f"{V1}/Chassis/1"), f"{V1}/Chassis/1": {"Id": "1"}}


TREES = {
    tree.__name__: tree
    for tree in (dell, dell_sensors, hpe, ilo4, lenovo, supermicro, fujitsu, openbmc, dmtf, two_nodes, bare)
}


@dataclass
class Service:
    """The running service: what it shows and how it misbehaves."""

    vendor: str
    watts: Any = 212
    fault: str = ""
    sessions: bool = True
    tokens: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    logins: int = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as the vendor's BMC would, or as the present fault wants."""
        self.requests += 1
        path = request.path.rstrip("/")
        if self.fault == "hang":
            await asyncio.sleep(30.0)
        if self.fault == "throttle":
            return web.Response(status=429, headers={"Retry-After": "120"})
        if self.fault == "drop" and request.transport is not None:
            request.transport.abort()
        if self.vendor == "hpe" and request.method == "GET" and not request.path.endswith("/"):
            raise web.HTTPPermanentRedirect(f"{request.path}/")
        if path == f"{V1}/SessionService/Sessions" and request.method == "POST":
            return await self.sign_in(request)
        if request.method == "DELETE":
            self.tokens = {token: own for token, own in self.tokens.items() if own != path}
            return web.Response(status=204)
        if path != V1 and not self.knows(request):
            return web.json_response({"error": {"message": "no valid session"}}, status=401)
        return self.resource(path)

    def resource(self, path: str) -> web.Response:
        """One resource of the tree, or garbage."""
        tree = TREES[self.vendor](self.watts)
        tree[V1] = {"@odata.id": V1, "Chassis": link(f"{V1}/Chassis"), **tree[V1]}
        tree[V1]["Links"] = {"Sessions": link(f"{V1}/SessionService/Sessions")}
        if path not in tree:
            return web.json_response({"error": {}}, status=404)
        if self.fault == "away" and path != V1:
            return web.Response(status=307, headers={"Location": "https://elsewhere.invalid/steal"})
        bodies = {
            "garbage": b"<html>loading</html>",
            "cut": json.dumps(tree[path]).encode()[:-5],
            "deep": b"[" * 200_000,
            "list": b"[1, 2, 3]",
            "huge": b'"' + b"x" * 9_000_000 + b'"',
        }
        body = (
            bodies.get(self.fault, json.dumps(tree[path]).encode()) if path != V1 else json.dumps(tree[path]).encode()
        )
        return web.Response(body=body, content_type="application/json")

    def knows(self, request: web.Request) -> bool:
        """Whether the request carries a live token or the right password."""
        if self.fault == "refuse":
            return False
        if request.headers.get("X-Auth-Token") in self.tokens:
            return True
        return request.headers.get("Authorization") == aiohttp.BasicAuth(USER, PASSWORD).encode()

    async def sign_in(self, request: web.Request) -> web.Response:
        """A new session."""
        if not self.sessions:
            return web.json_response({}, status=405)
        account = await request.json()
        if self.fault == "refuse" or (account["UserName"], account["Password"]) != (USER, PASSWORD):
            return web.json_response({}, status=401)
        self.logins += 1
        own = f"{V1}/SessionService/Sessions/{self.logins}"
        self.tokens[f"token-{self.logins}"] = own
        return web.json_response({}, status=201, headers={"X-Auth-Token": f"token-{self.logins}", "Location": own})

    async def steer(self, request: web.Request) -> web.Response:
        """The test's own door: set fields, read counts."""
        wishes = await request.json()
        for name, value in wishes.items():
            setattr(self, name, float(value) if name == "watts" and isinstance(value, str) else value)
        state = {"requests": self.requests, "logins": self.logins, "tokens": len(self.tokens)}
        return web.json_response(state)


async def run(vendor: str, certificate: str, key: str) -> None:
    """Serve until the input is closed."""
    service = Service(vendor)
    app = web.Application()
    app.router.add_post("/steer", service.steer)
    app.router.add_route("*", "/{rest:.*}", service.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


@dataclass
class Bmc:
    """A service under test, as the test holds it."""

    url: str
    ca_file: str

    async def steer(self, **wishes: Any) -> Json:
        """Change the service; returns its counts."""
        context = ssl.create_default_context(cafile=self.ca_file)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/steer", json=wishes, ssl=context) as answer,
        ):
            return await answer.json()


@contextlib.asynccontextmanager
async def bmc(vendor: str, folder: Path) -> AsyncIterator[Bmc]:
    """The service as a process, with a certificate of a CA made for it."""
    authority, certificate, key = make_certificates(folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.redfish", vendor, str(certificate), str(key)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60.0))
        yield Bmc(f"https://127.0.0.1:{port}", str(authority))
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10.0)
        except TimeoutError:
            process.kill()
            await process.wait()


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A CA, and a certificate and key for 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        start = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        start = start.serial_number(x509.random_serial_number())
        return start.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))

    ca = builder(ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = builder(name, key.public_key()).add_extension(address, critical=False)
    paths = folder / "ca.crt", folder / "bmc.crt", folder / "bmc.key"
    paths[0].write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("vendor", choices=sorted(TREES))
    parser.add_argument("certificate")
    parser.add_argument("key")
    options = parser.parse_args()
    asyncio.run(run(options.vendor, options.certificate, options.key))
