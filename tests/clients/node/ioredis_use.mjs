// ioredis: its ordinary use as a cache.

import Redis from "ioredis";

import { address, check, equal, eventually, refused } from "./checks.mjs";

const client = new Redis({ ...address, db: 9, maxRetriesPerRequest: 0 });
client.on("error", (error) => console.error(`ioredis: ${error.message}`));
await client.flushdb();

await check("ioredis values", async () => {
  equal(await client.set("key", "value", "EX", 60), "OK");
  equal(await client.get("key"), "value");
  equal(await client.get("absent"), null);
  equal(await client.set("key", "other", "NX"), null);
  equal(await client.setnx("fresh", "1"), 1);
  equal(await client.getdel("fresh"), "1");
  const blob = Buffer.alloc(1 << 20, 0xab);
  await client.set("blob", blob);
  equal(blob.equals(await client.getBuffer("blob")), true);
  equal(await client.del("key", "blob", "absent"), 2);
});

await check("ioredis counters", async () => {
  equal(await client.incr("count"), 1);
  equal(await client.incrby("count", 9), 10);
  equal(await client.incrbyfloat("count", "0.5"), "10.5");
  await refused(() => client.incr("count"), /^ERR value is not an integer or out of range$/);
});

await check("ioredis expiry", async () => {
  await client.setex("key", 60, "value");
  const ttl = await client.ttl("key");
  equal(ttl > 0 && ttl <= 60, true);
  equal(await client.persist("key"), 1);
  equal(await client.ttl("key"), -1);
  await client.psetex("gone", 5, "value");
  await eventually(() => client.get("gone"), null);
});

await check("ioredis many", async () => {
  const pairs = Object.fromEntries(Array.from({ length: 500 }, (_, number) => [`many:${number}`, `${number}`]));
  await client.mset(pairs);
  equal(await client.mget(...Object.keys(pairs), "absent"), [...Object.values(pairs), null]);
  const found = [];
  for await (const keys of client.scanStream({ match: "many:*", count: 50 })) found.push(...keys);
  equal([...new Set(found)].sort(), Object.keys(pairs).sort());
  equal(await client.unlink(...Object.keys(pairs)), 500);
});

await check("ioredis pipelines and automatic pipelining", async () => {
  const replies = await client.pipeline().set("piped", "1").incr("piped").get("piped").exec();
  equal(replies, [[null, "OK"], [null, 2], [null, "2"]]);
  const piped = new Redis({ ...address, db: 9, enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 300 }, (_, number) => piped.set(`auto:${number}`, number)));
  const values = await Promise.all(Array.from({ length: 300 }, (_, number) => piped.get(`auto:${number}`)));
  equal(values, Array.from({ length: 300 }, (_, number) => `${number}`));
  await piped.quit();
});

await check("ioredis transactions", async () => {
  equal(await client.multi().set("t", "1").incr("t").exec(), [[null, "OK"], [null, 2]]);
  const other = client.duplicate();
  await client.watch("t");
  await other.set("t", "5");
  equal(await client.multi().set("t", "0").exec(), null);
  equal(await client.get("t"), "5");
  await other.quit();
});

await check("ioredis publish and subscribe", async () => {
  const listener = client.duplicate();
  equal(await listener.subscribe("news", "other"), 2);
  equal(await listener.psubscribe("weather.*"), 3);
  const message = new Promise((resolve) => listener.once("message", (...heard) => resolve(heard)));
  equal(await client.publish("news", "first"), 1);
  equal(await message, ["news", "first"]);
  const matched = new Promise((resolve) => listener.once("pmessage", (...heard) => resolve(heard)));
  equal(await client.publish("weather.north", "rain"), 1);
  equal(await matched, ["weather.*", "weather.north", "rain"]);
  await listener.quit();
});

await check("ioredis unknown command", async () => {
  await refused(() => client.call("NOSUCHCOMMAND", "argument"), /unknown command/);
});

await check("ioredis server", async () => {
  equal(/redis_version:\d/.test(await client.info()), true);
  equal(await client.client("SETNAME", "checks"), "OK");
  equal(await client.client("GETNAME"), "checks");
  equal((await client.flushdb(), await client.dbsize()), 0);
  equal(await client.quit(), "OK");
});
