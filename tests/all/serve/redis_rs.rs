//! redis-rs: its ordinary use as a cache, its client-side cache, and invalidations as pushes.

use std::time::{Duration, Instant};

use ostler_tests::Served;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{
    AsyncConnectionConfig, AsyncTypedCommands as _, Client, Connection, IntegerReplyOrNoOp,
    PushInfo, PushKind, TypedCommands as _, Value,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::serve;

/// Longest wait for something that the server does in its own time.
const WAIT: Duration = Duration::from_secs(10);

fn client(server: &Served, options: &str) -> Client {
    Client::open(format!("redis://{}/{options}", server.resp())).expect("an address")
}

fn connect(server: &Served, options: &str) -> Connection {
    client(server, options).get_connection().expect("a connection")
}

fn on_runtime<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task)
}

#[test]
fn ordinary_use_under_both_protocols() {
    let server = serve(&[]);
    for options in ["3", "4?protocol=resp3"] {
        let mut cache = connect(&server, options);
        cache.set("key", "value").expect("SET");
        assert_eq!(cache.get("key").expect("GET").as_deref(), Some("value"));
        assert_eq!(cache.get("absent").expect("GET"), None);
        cache.set_ex("brief", "value", 60).expect("SETEX");
        let ttl = cache.ttl("brief").expect("TTL");
        assert!(matches!(ttl, IntegerReplyOrNoOp::IntegerReply(1..=60)), "{ttl:?}");
        assert_eq!(cache.incr("count", 41).expect("INCRBY"), 41);
        let refusal = cache.incr("key", 1).expect_err("no number");
        assert_eq!(refusal.code(), Some("ERR"), "{refusal}");
        assert_eq!(refusal.detail(), Some("value is not an integer or out of range"));
        cache.mset(&[("a", "1"), ("b", "2")]).expect("MSET");
        let values: Vec<Option<String>> = cache.mget(&["a", "absent", "b"]).expect("MGET");
        assert_eq!(values, [Some("1".into()), None, Some("2".into())]);
        assert_eq!(cache.del(&["a", "b", "absent"]).expect("DEL"), 2);
        for number in 0..500 {
            cache.set(format!("scanned:{number}"), number).expect("SET");
        }
        let found =
            redis::Commands::scan_match::<_, String>(&mut cache, "scanned:*").expect("SCAN");
        let found: std::collections::BTreeSet<String> =
            found.map(|key| key.expect("a key")).collect();
        assert_eq!(found.len(), 500);
    }
}

#[test]
fn pipelines_and_transactions() {
    let server = serve(&[]);
    let mut cache = connect(&server, "");
    let mut pipe = redis::pipe();
    for number in 0..1_000 {
        pipe.set(format!("piped:{number}"), number).ignore();
    }
    pipe.query::<()>(&mut cache).expect("a pipeline");
    let replies: (u32, u32) =
        redis::pipe().atomic().get("piped:7").incr("piped:999", 1).query(&mut cache).expect("EXEC");
    assert_eq!(replies, (7, 1_000));

    let mut other = connect(&server, "");
    let mut attempts = 0;
    let taken: Vec<u32> = redis::transaction(&mut cache, &["stock"], |cache, pipe| {
        attempts += 1;
        let stock: Option<u32> = redis::Commands::get(cache, "stock")?;
        if attempts == 1 {
            // Somebody else comes in between: the transaction has to start over.
            other.set("stock", 10)?;
        }
        pipe.incr("stock", stock.unwrap_or(0)).query(cache)
    })
    .expect("a transaction");
    assert_eq!((attempts, taken), (2, vec![20]));
}

#[test]
fn publish_and_subscribe() {
    let server = serve(&[]);
    let (mut listener, mut speaker) = (connect(&server, ""), connect(&server, ""));
    let mut listening = listener.as_pubsub();
    listening.set_read_timeout(Some(WAIT)).expect("a bound");
    listening.subscribe("news").expect("SUBSCRIBE");
    listening.psubscribe("weather.*").expect("PSUBSCRIBE");
    assert_eq!(
        redis::Commands::publish::<_, _, u32>(&mut speaker, "news", "first").expect("PUBLISH"),
        1
    );
    assert_eq!(
        redis::Commands::publish::<_, _, u32>(&mut speaker, "weather.north", "rain")
            .expect("PUBLISH"),
        1
    );
    let heard = listening.get_message().expect("a message");
    assert_eq!(heard.get_payload::<String>().expect("text"), "first");
    let heard = listening.get_message().expect("a message");
    assert_eq!(
        (heard.get_channel_name(), heard.get_payload::<String>().expect("text").as_str()),
        ("weather.north", "rain")
    );
}

#[test]
fn the_client_side_cache_is_invalidated() {
    let server = serve(&[]);
    on_runtime(async {
        let client = client(&server, "?protocol=resp3");
        let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::default());
        let reader = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut reader = reader.expect("a connection");
        let mut writer = client.get_multiplexed_async_connection().await.expect("a connection");
        writer.set("cached", "one").await.expect("SET");
        for _ in 0..100 {
            assert_eq!(reader.get("cached").await.expect("GET").as_deref(), Some("one"));
        }
        let hits = reader.get_cache_statistics().expect("a cache").hit;
        assert!(hits >= 99, "{hits} of 100 stay at the client");
        writer.set("cached", "two").await.expect("SET");
        eventually(&mut reader, "cached", Some("two")).await;
        writer.del("cached").await.expect("DEL");
        eventually(&mut reader, "cached", None).await;
    });
}

/// Reads until the expected value comes.
async fn eventually(reader: &mut MultiplexedConnection, key: &str, expected: Option<&str>) {
    let end = Instant::now() + WAIT;
    loop {
        let found = reader.get(key).await.expect("GET");
        if found.as_deref() == expected {
            return;
        }
        assert!(Instant::now() < end, "{key}: {found:?}, not {expected:?}, after {WAIT:?}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn broadcast_invalidations_reach_a_connection_that_asked_for_them() {
    let server = serve(&[]);
    on_runtime(async {
        let client = client(&server, "?protocol=resp3");
        let (sender, mut pushed) = unbounded_channel();
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let listener = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut listener = listener.expect("a connection");
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg(&["TRACKING", "ON", "BCAST", "PREFIX", "user:", "NOLOOP"]);
        tracking.exec_async(&mut listener).await.expect("CLIENT TRACKING");
        let mut writer = client.get_multiplexed_async_connection().await.expect("a connection");
        for number in 0..30 {
            writer.set(format!("other:{number}"), "not asked for").await.expect("SET");
            listener.set(format!("user:own:{number}"), "its own").await.expect("SET");
            let key = format!("user:{number}");
            writer.set(&key, "value").await.expect("SET");
            assert_eq!(next_invalidated(&mut pushed).await, [key]);
        }
        redis::cmd("FLUSHALL").exec_async(&mut writer).await.expect("FLUSHALL");
        assert!(next_invalidated(&mut pushed).await.is_empty(), "all keys, which is said by none");
    });
}

/// The keys of the next invalidation.
async fn next_invalidated(pushed: &mut UnboundedReceiver<PushInfo>) -> Vec<String> {
    loop {
        let push = tokio::time::timeout(WAIT, pushed.recv()).await.expect("a push in time");
        let push = push.expect("the connection lives");
        if push.kind == PushKind::Invalidate {
            let keys = push.data.into_iter().next().unwrap_or(Value::Nil);
            return redis::from_redis_value::<Option<Vec<String>>>(keys)
                .expect("keys")
                .unwrap_or_default();
        }
    }
}
