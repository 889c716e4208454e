// node-redis: its ordinary use as a cache under RESP2 and RESP3, and its client-side cache.

import { BasicClientSideCache, createClient } from "redis";

import { address, check, equal, eventually, refused } from "./checks.mjs";

async function connect(options = {}) {
  const client = createClient({ socket: { ...address, reconnectStrategy: false }, database: 9, ...options });
  client.on("error", (error) => console.error(`node-redis: ${error.message}`));
  await client.connect();
  return client;
}

async function ordinaryUse(version) {
  const client = await connect({ RESP: version });
  const named = (name, body) => check(`node-redis RESP${version} ${name}`, body);
  await client.flushDb();

  await named("values", async () => {
    equal(await client.set("key", "value", { expiration: { type: "EX", value: 60 } }), "OK");
    equal(await client.get("key"), "value");
    equal(await client.get("absent"), null);
    equal(await client.set("key", "other", { condition: "NX" }), null);
    equal(await client.getEx("key", { type: "PERSIST" }), "value");
    equal(await client.ttl("key"), -1);
    equal(await client.del(["key", "absent"]), 1);
  });
  await named("counters", async () => {
    equal(await client.incr("count"), 1);
    equal(await client.incrBy("count", 9), 10);
    equal(await client.decrBy("count", 4), 6);
    await client.set("word", "abc");
    await refused(() => client.incr("word"), /value is not an integer or out of range/);
  });
  await named("expiry", async () => {
    await client.setEx("key", 60, "value");
    const ttl = await client.pTTL("key");
    equal(ttl > 0 && ttl <= 60_000, true);
    await client.pSetEx("gone", 5, "value");
    await eventually(() => client.get("gone"), null);
  });
  await named("many", async () => {
    const pairs = Array.from({ length: 500 }, (_, number) => [`many:${number}`, `${number}`]);
    await client.mSet(pairs);
    equal(await client.mGet([...pairs.map(([key]) => key), "absent"]), [...pairs.map(([, value]) => value), null]);
    const found = new Set();
    for await (const keys of client.scanIterator({ MATCH: "many:*", COUNT: 50 })) keys.forEach((key) => found.add(key));
    equal([...found].sort(), pairs.map(([key]) => key).sort());
    equal(await client.unlink(pairs.map(([key]) => key)), 500);
  });
  await named("pipelining", async () => {
    await Promise.all(Array.from({ length: 300 }, (_, number) => client.set(`auto:${number}`, `${number}`)));
    const values = await Promise.all(Array.from({ length: 300 }, (_, number) => client.get(`auto:${number}`)));
    equal(values, Array.from({ length: 300 }, (_, number) => `${number}`));
  });
  await named("transactions", async () => {
    equal(await client.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
    const other = await connect();
    await client.watch("t");
    await other.set("t", "5");
    await refused(() => client.multi().set("t", "0").exec(), /watched keys has been changed/);
    equal(await client.get("t"), "5");
    await other.close();
  });
  await named("publish and subscribe", async () => {
    const listener = await connect({ RESP: version });
    let hear;
    const heard = new Promise((resolve) => { hear = resolve; });
    await listener.subscribe("news", (message, channel) => hear([channel, message]));
    equal(await client.publish("news", "first"), 1);
    equal(await heard, ["news", "first"]);
    await listener.unsubscribe("news");
    await listener.close();
  });
  await named("server", async () => {
    equal(/redis_version:\d/.test(await client.info()), true);
    equal(await client.clientSetName("checks"), "OK");
    equal(await client.clientGetName(), "checks");
    await refused(() => client.sendCommand(["NOSUCHCOMMAND", "argument"]), /unknown command/);
    await client.flushDb();
    equal(await client.dbSize(), 0);
  });
  await client.close();
}

async function clientSideCache() {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: "LRU" });
  const reader = await connect({ RESP: 3, clientSideCache: cache });
  const writer = await connect();
  await check("node-redis client-side cache: hits stay at the client", async () => {
    await writer.set("cached", "one");
    equal(await reader.get("cached"), "one");
    const before = cache.stats().hitCount;
    for (let turn = 0; turn < 50; turn += 1) equal(await reader.get("cached"), "one");
    equal(cache.stats().hitCount - before, 50);
  });
  await check("node-redis client-side cache: a write invalidates", async () => {
    await writer.set("cached", "two");
    await eventually(() => reader.get("cached"), "two");
  });
  await check("node-redis client-side cache: a deletion and a flush invalidate", async () => {
    await writer.del("cached");
    await eventually(() => reader.get("cached"), null);
    await writer.set("cached", "three");
    await eventually(() => reader.get("cached"), "three");
    await writer.flushDb();
    await eventually(() => reader.get("cached"), null);
  });
  await check("node-redis client-side cache: expiry invalidates", async () => {
    await writer.set("cached", "brief", { expiration: { type: "PX", value: 50 } });
    await eventually(() => reader.get("cached"), null);
  });
  await reader.close();
  await writer.close();
}

await ordinaryUse(2);
await ordinaryUse(3);
await clientSideCache();
