"""The messages of CSI 1.x and of plugin registration that a node needs, as protobuf classes made at start.

Each is one line of fields, `name=number:type`; a `*` before the type repeats it and `map` is text to text. Drivers of
newer versions may send fields that are not listed: they are skipped.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CSI, REGISTRATION = "csi.v1", "pluginregistration"

_CSI = {
    "NodeGetInfoRequest": "",
    "NodeGetInfoResponse": "node_id=1:string max_volumes_per_node=2:int64 accessible_topology=3:Topology",
    "Topology": "segments=1:map",
    "NodeGetCapabilitiesRequest": "",
    "NodeGetCapabilitiesResponse": "capabilities=1:*NodeServiceCapability",
    "NodeServiceCapability": "rpc=1:Rpc",
    "Rpc": "type=1:int32",
    "VolumeCapability": "block=1:BlockVolume mount=2:MountVolume access_mode=3:AccessMode",
    "BlockVolume": "",
    "MountVolume": "fs_type=1:string mount_flags=2:*string volume_mount_group=3:string",
    "AccessMode": "mode=1:int32",
    "NodeStageVolumeRequest": "volume_id=1:string publish_context=2:map staging_target_path=3:string "
    "volume_capability=4:VolumeCapability secrets=5:map volume_context=6:map",
    "NodeStageVolumeResponse": "",
    "NodeUnstageVolumeRequest": "volume_id=1:string staging_target_path=2:string",
    "NodeUnstageVolumeResponse": "",
    "NodePublishVolumeRequest": "volume_id=1:string publish_context=2:map staging_target_path=3:string "
    "target_path=4:string volume_capability=5:VolumeCapability readonly=6:bool secrets=7:map volume_context=8:map",
    "NodePublishVolumeResponse": "",
    "NodeUnpublishVolumeRequest": "volume_id=1:string target_path=2:string",
    "NodeUnpublishVolumeResponse": "",
    "NodeExpandVolumeRequest": "volume_id=1:string volume_path=2:string capacity_range=3:CapacityRange "
    "staging_target_path=4:string volume_capability=5:VolumeCapability secrets=6:map",
    "NodeExpandVolumeResponse": "capacity_bytes=1:int64",
    "CapacityRange": "required_bytes=1:int64 limit_bytes=2:int64",
    "NodeGetVolumeStatsRequest": "volume_id=1:string volume_path=2:string staging_target_path=3:string",
    "NodeGetVolumeStatsResponse": "usage=1:*VolumeUsage",
    "VolumeUsage": "available=1:int64 total=2:int64 used=3:int64 unit=4:int32",
}
_REGISTRATION = {
    "InfoRequest": "",
    "PluginInfo": "type=1:string name=2:string endpoint=3:string supported_versions=4:*string",
    "RegistrationStatus": "plugin_registered=1:bool error=2:string",
    "RegistrationStatusResponse": "",
}
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bool": _FIELD.TYPE_BOOL,
    "int64": _FIELD.TYPE_INT64,
    # Enumerations are numbers on the wire, and unknown ones must not be lost.
    "int32": _FIELD.TYPE_INT32,
}


def _file(package: str, messages: dict[str, str]) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            _add_field(message, package, *field.replace("=", ":").split(":"))
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, name: str, number: str, kind: str) -> None:
    repeated = kind.startswith("*") or kind == "map"
    field = message.field.add(
        name=name, number=int(number), label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    )
    kind = kind.removeprefix("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _FIELD.TYPE_MESSAGE
    field.type_name = f".{package}.{kind}"
    if kind == "map":
        # A map is a repeated message of a name that follows from the field's.
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key", "1", "string")
        _add_field(entry, package, "value", "2", "string")
        field.type_name = f".{package}.{message.name}.{entry.name}"


def _classes() -> dict[str, Any]:
    """Every message by its short name; in a pool of their own, since others may bring the same names along."""
    pool = descriptor_pool.DescriptorPool()
    found: dict[str, Any] = {}
    for package, messages in ((CSI, _CSI), (REGISTRATION, _REGISTRATION)):
        pool.Add(_file(package, messages))
        for name in messages:
            descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
            found[name] = message_factory.GetMessageClass(descriptor)
    return found


MESSAGES: dict[str, Any] = _classes()
