"""redis-py: its ordinary use as a cache, under RESP2 and RESP3, blocking and asyncio, and its client-side cache."""

import asyncio

import redis
import redis.asyncio
from redis.cache import CacheConfig

from checks import address, check, equal, eventually

HOST, PORT = address()


def strings(client):
    equal(client.ping(), True)
    equal(client.set("greeting", "hello"), True)
    equal(client.get("greeting"), b"hello")
    equal(client.get("absent"), None)
    equal(client.set("greeting", "again", nx=True), None)
    equal(client.set("greeting", "again", xx=True, get=True), b"hello")
    equal(client.getset("greeting", "third"), b"again")
    equal(client.append("greeting", "!"), 6)
    equal(client.strlen("greeting"), 6)
    equal(client.getrange("greeting", 0, 2), b"thi")
    equal(client.getdel("greeting"), b"third!")
    equal(client.exists("greeting"), 0)
    blob = bytes(range(256)) * 4096
    client.set(b"\x00\r\n binary", blob)
    equal(client.get(b"\x00\r\n binary"), blob)


def numbers(client):
    equal(client.incr("counter"), 1)
    equal(client.incrby("counter", 41), 42)
    equal(client.decr("counter", 2), 40)
    equal(client.incrbyfloat("counter", 0.5), 40.5)
    client.set("word", "abc")
    try:
        client.incr("word")
    except redis.ResponseError as error:
        equal(str(error), "value is not an integer or out of range")
    else:
        raise AssertionError("INCR of a word has to fail")


def expiry(client):
    client.setex("short", 100, "value")
    assert 0 < client.ttl("short") <= 100
    equal(client.persist("short"), True)
    equal(client.ttl("short"), -1)
    equal(client.ttl("absent"), -2)
    equal(client.expire("short", 50, nx=True), True)
    equal(client.expire("short", 10, gt=True), False)
    client.set("short", "kept", keepttl=True)
    assert 0 < client.pttl("short") <= 50_000
    client.psetex("gone", 5, "value")
    eventually(lambda: client.get("gone"), None)
    equal(client.getex("short", persist=True), b"kept")


def many(client):
    equal(client.mset({f"many:{number}": number for number in range(1000)}), True)
    values = client.mget([f"many:{number}" for number in range(1000)] + ["absent"])
    equal(values, [b"%d" % number for number in range(1000)] + [None])
    found = sorted(client.scan_iter(match="many:*", count=100))
    equal(found, sorted(b"many:%d" % number for number in range(1000)))
    equal(len(client.keys("many:99?")), 10)
    equal(client.unlink(*[f"many:{number}" for number in range(500)]), 500)
    equal(client.delete(*[f"many:{number}" for number in range(1000)]), 500)


def pipelines(client):
    with client.pipeline(transaction=False) as pipe:
        for number in range(200):
            pipe.set(f"piped:{number}", number)
        for number in range(200):
            pipe.get(f"piped:{number}")
        replies = pipe.execute()
    equal(replies[200:], [b"%d" % number for number in range(200)])
    with client.pipeline() as pipe:
        replies = pipe.set("t", 1).incr("t").expire("t", 60).get("t").execute()
    equal(replies, [True, 2, True, b"2"])


def transactions(client):
    client.set("stock", 3)

    def take(pipe):
        left = int(pipe.get("stock"))
        pipe.multi()
        pipe.set("stock", left - 1)

    equal(client.transaction(take, "stock"), [True])
    equal(client.get("stock"), b"2")
    with client.pipeline() as pipe:
        pipe.watch("stock")
        client.set("stock", 10)
        pipe.multi()
        pipe.set("stock", 0)
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("the watched key changed")
    equal(client.get("stock"), b"10")


def publishing(client):
    with client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("weather.*")
        equal(listener.get_message(timeout=10)["type"], "subscribe")
        equal(listener.get_message(timeout=10)["type"], "psubscribe")
        equal(client.publish("news", "first"), 1)
        equal(client.publish("weather.north", "rain"), 1)
        equal(client.publish("nobody", "x"), 0)
        equal(listener.get_message(timeout=10)["data"], b"first")
        message = listener.get_message(timeout=10)
        equal((message["channel"], message["data"]), (b"weather.north", b"rain"))


def databases(client, other):
    client.set("where", "nine")
    equal(other.get("where"), None)
    equal(client.move("where", 10), True)
    equal(other.get("where"), b"nine")
    other.flushdb()
    equal(other.dbsize(), 0)


def server(client):
    info = client.info()
    for field in ["redis_version", "used_memory", "connected_clients", "uptime_in_seconds", "role"]:
        assert field in info, f"INFO has no {field}"
    equal(client.config_get("databases"), {"databases": "16"})
    assert client.client_id() > 0
    client.client_setname("checks")
    assert client.client_getname() in ["checks", b"checks"], client.client_getname()
    assert any(entry["name"] == "checks" for entry in client.client_list())
    seconds, _ = client.time()
    assert seconds > 1_600_000_000
    client.set("twelve", 12)
    equal(client.object("encoding", "twelve"), b"int")
    try:
        client.execute_command("NOSUCHCOMMAND", "argument")
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error
    else:
        raise AssertionError("an unknown command has to be refused")


def blocking(protocol):
    def connect(database):
        client = redis.Redis(HOST, PORT, db=database, protocol=protocol, socket_timeout=30)
        client.flushdb()
        return client

    client = connect(9)
    for part in [strings, numbers, expiry, many, pipelines, transactions, publishing, server]:
        with check(f"redis-py RESP{protocol} {part.__name__}"):
            part(client)
    with check(f"redis-py RESP{protocol} databases"):
        databases(client, connect(10))


def get_calls(client):
    return client.info("commandstats").get("cmdstat_get", {}).get("calls", 0)


def client_side_cache():
    writer = redis.Redis(HOST, PORT, db=9, protocol=2)
    reader = redis.Redis(HOST, PORT, db=9, protocol=3, cache_config=CacheConfig(max_size=100))
    with check("redis-py client-side cache: hits stay at the client"):
        writer.set("cached", "one")
        equal(reader.get("cached"), b"one")
        before = get_calls(writer)
        for _ in range(50):
            equal(reader.get("cached"), b"one")
        equal(get_calls(writer), before)
    with check("redis-py client-side cache: a write invalidates"):
        writer.set("cached", "two")
        eventually(lambda: reader.get("cached"), b"two")
    with check("redis-py client-side cache: a deletion and a flush invalidate"):
        writer.delete("cached")
        eventually(lambda: reader.get("cached"), None)
        writer.set("cached", "three")
        eventually(lambda: reader.get("cached"), b"three")
        writer.flushdb()
        eventually(lambda: reader.get("cached"), None)
    with check("redis-py client-side cache: expiry invalidates"):
        writer.set("cached", "brief", px=50)
        eventually(lambda: reader.get("cached"), None)


async def asynchronous(protocol):
    client = redis.asyncio.Redis(host=HOST, port=PORT, db=9, protocol=protocol)
    with check(f"redis-py RESP{protocol} asyncio"):
        await client.flushdb()
        await asyncio.gather(*[client.set(f"task:{number}", number) for number in range(100)])
        values = await asyncio.gather(*[client.get(f"task:{number}") for number in range(100)])
        equal(values, [b"%d" % number for number in range(100)])
        async with client.pipeline(transaction=True) as pipe:
            equal(await pipe.incr("total").incr("total").execute(), [1, 2])
    await client.aclose()


for version in [2, 3]:
    blocking(version)
    asyncio.run(asynchronous(version))
client_side_cache()
