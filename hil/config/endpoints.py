"""What a bench file says about the addresses where devices are met, and that cannot be."""

from __future__ import annotations

from urllib.parse import urlsplit

from hil.config.base import on_loopback
from hil.config.bench import BenchConfig
from hil.config.evses import EvseConfig
from hil.config.source import Source
from hil.config.tls import ClientTlsConfig, ServerTlsConfig


def endpoint_problems(config: BenchConfig, source: Source) -> list[str]:
    """Doors that anybody can come through, that are two things at once, or that a twin cannot."""
    problems = [
        source.problem(
            ("evses", name, "listen"),
            f"{evse.listen} can be reached from the network, and nothing tells the charger from "
            "anybody else: name its password with 'password_env' or 'password_file' (over TLS: or "
            "'client_ca_file'), or say 'insecure: true' if the network is the bench's own",
        )
        for name, evse in config.ocpp_evses().items()
        if evse.open_to_all
    ]
    problems += _disagreements(config, source) + _twins_without_trust(config, source)
    return problems + _twins_behind_brokers(config, source)


def _disagreements(config: BenchConfig, source: Source) -> list[str]:
    """One address is encrypted or not, and shows one certificate, whoever connects."""
    problems = []
    first: dict[tuple[str, int], tuple[str, EvseConfig]] = {}
    for name, evse in config.ocpp_evses().items():
        parts = urlsplit(evse.listen)
        if parts.port == 0:
            continue
        place = parts.hostname or "", parts.port or (443 if evse.encrypted else 80)
        other_name, other = first.setdefault(place, (name, evse))
        if (other.encrypted, other.tls) != (evse.encrypted, evse.tls):
            words = (
                f"'{other_name}' is expected at the same address with other TLS settings; one "
                "address shows one certificate: make 'listen' and 'tls' the same, or give one of "
                "them another port"
            )
            problems.append(source.problem(("evses", name, "listen"), words))
    return problems


def _twins_without_trust(config: BenchConfig, source: Source) -> list[str]:
    """A twin at an encrypted address needs certificates; at another one it has no use for them."""
    if config.virtual is None:
        return []
    problems = []
    for part in ("evses", "meters"):
        for name in getattr(config.virtual, part):
            needed, shown = _side_of(config, name), config.virtual.tls.get(name)
            if needed is not None and not isinstance(shown, needed):
                place = ("virtual", part, name)
                problems.append(source.problem(place, _NEEDS[needed], at_key=True))
    for name in config.virtual.tls:
        known = name in config.evses or name in config.meters
        if known and (_side_of(config, name) is None or name not in config.virtual_names()):
            words = "only a virtual device at an encrypted address (wss://, tls://) needs "
            words += "certificates"
            problems.append(source.problem(("virtual", "tls", name), words, at_key=True))
    return problems


_NEEDS: dict[type[ClientTlsConfig] | type[ServerTlsConfig], str] = {
    ClientTlsConfig: "its twin connects over TLS, and needs a 'ca_file' under 'virtual: tls:'",
    ServerTlsConfig: "its twin waits for the bench over TLS, and needs a 'certificate_file' and no "
    "'ca_file' under 'virtual: tls:'",
}


def _side_of(
    config: BenchConfig, name: str
) -> type[ClientTlsConfig] | type[ServerTlsConfig] | None:
    """What the twin of a device takes part in TLS as, if it does."""
    device = config.evses.get(name) or config.connected_meters().get(name)
    if isinstance(device, EvseConfig):
        return ClientTlsConfig if device.encrypted else None
    encrypted = device is not None and urlsplit(device.link).scheme == "tls"
    return ServerTlsConfig if encrypted else None


def _twins_behind_brokers(config: BenchConfig, source: Source) -> list[str]:
    """A virtual device on MQTT shows the broker nothing, and goes to one of this computer."""
    problems = []
    evses = [("evses", name, one.link, one.username) for name, one in config.mqtt_evses().items()]
    meters = [("meters", name, m.link, m.username) for name, m in config.mqtt_meters().items()]
    for part, name, link, username in (*evses, *meters):
        if name not in config.virtual_names():
            continue
        plain = link.startswith("mqtt://") and on_loopback(link)
        if not plain or username is not None:
            words = "its twin connects to a broker on loopback, without encryption and user name: "
            words += "write mqtt://127.0.0.1:1883, and no 'username'"
            problems.append(source.problem((part, name, "link"), words))
    return problems
