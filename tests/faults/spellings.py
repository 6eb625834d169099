"""An operator inserts each proxy by SQL in other spellings of its endpoint. One proxy must not become two IPs."""

import asyncpg

from tests.faults.stage import Fault, Stage
from tests.faults.use_of_ips import used


async def spelled(stage: Stage) -> str:
    """Each endpoint is inserted in other spellings; PostgreSQL may refuse them."""
    scene = stage.scene
    taken, refused = [], 0
    for address in scene.addresses:
        for host, port in spellings(address, scene.proxy_port):
            try:
                await scene.run_sql(f"insert into ip_rotation_pool (ip_address, ip_port) values ('{host}', '{port}')")
                taken.append(f"{host}:{port}")
            except asyncpg.PostgresError:
                refused += 1
    await used(stage)
    return f"{refused} spellings were refused, {len(taken)} taken: {', '.join(sorted(taken)[:3])}"


def spellings(address: str, port: int) -> list[tuple[str, str]]:
    """Other spellings of an IPv4 endpoint that resolvers take."""
    octets = [int(octet) for octet in address.split(".")]
    number = int.from_bytes(bytes(octets))
    hosts = (
        f" {address}",
        f"{address}.",
        f"{octets[0]}.{octets[1]}.{octets[2] * 256 + octets[3]}",
        f"0x{octets[0]:x}.{octets[1]}.{octets[2]}.{octets[3]}",
        f"0{octets[0]:o}.{octets[1]}.{octets[2]}.{octets[3]}",
        str(number),
        f"::ffff:{address}",
        f"[::FFFF:{address}]",
        f"0:0:0:0:0:ffff:{number >> 16:x}:{number & 0xFFFF:x}",
    )
    ports = (f"0{port}", f" {port}", f"{port} ", f"+{port}")
    return [*((host, str(port)) for host in hosts), *((address, other) for other in ports)]


FAULTS = (
    Fault("endpoint-spellings", "each proxy inserted by SQL in other spellings of its endpoint", spelled, rounds=1),
)
