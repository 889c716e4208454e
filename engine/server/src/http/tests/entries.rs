//! Entries: what is stored comes back, under the conditions that callers name.

use axum::http::Method;

use super::{Server, server, settings};
use crate::keyspace::{End, Key, Value};

fn open() -> Server {
    server(settings())
}

#[tokio::test]
async fn an_entry_comes_back_as_it_was_stored() {
    let server = open();
    let path = "/v1/caches/a/entries/user%2F7%00%ff";
    let put = server.ask(Method::PUT, path).with("content-type", "application/json; charset=utf-8");
    let put = put.send("{\"a\":1}").await;
    assert_eq!(put.status, 201);
    let get = server.get(path).await;
    assert_eq!((get.status, &*get.text()), (200, "{\"a\":1}"));
    assert_eq!(get.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(get.header("etag"), put.header("etag"));
    assert_eq!(get.header("cache-control"), Some("no-cache"));
    assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
    assert!(get.header("age").is_some() && get.header("ostler-ttl").is_none());
    let head = server.ask(Method::HEAD, path).send("").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("7"));
    let there = server.service.caches[0].entry(Key::new(0, b"user/7\0\xff").as_bytes());
    assert!(there.is_some(), "the key is the decoded bytes");

    let again = server.put(path, "b").await;
    assert_eq!(again.status, 204);
    assert_ne!(again.header("etag"), put.header("etag"));
    let get = server.get(path).await;
    assert_eq!(get.header("content-type"), Some("application/octet-stream"));
    assert_eq!(server.delete(path).await.status, 204);
    assert_eq!(server.delete(path).await.problem(), "unknown-entry");
    assert_eq!(server.get(path).await.problem(), "unknown-entry");
    assert_eq!(server.ask(Method::HEAD, path).send("").await.status, 404);
}

#[tokio::test]
async fn a_content_type_does_not_outlive_its_value() {
    let server = open();
    let path = "/v1/caches/a/entries/k";
    let put = server.ask(Method::PUT, path).with("content-type", "text/html");
    assert_eq!(put.send("<p>").await.status, 201);
    assert_eq!(server.get(path).await.header("content-type"), Some("text/html"));
    let other = server.service.caches[0].set(Key::new(0, b"k"), Value::new(b"x"), End::Never, 7);
    assert!(other.is_ok());
    let get = server.get(path).await;
    assert_eq!(get.header("content-type"), Some("application/octet-stream"));
    assert_eq!(get.text(), "x");
}

#[tokio::test]
async fn types_of_entries_that_have_gone_are_swept_out() {
    let server = open();
    let types = crate::http::content_types::ContentTypes::default();
    let cache = &server.service.caches[0];
    for number in 0..5_000 {
        let key = Key::new(0, format!("k{number}").as_bytes());
        assert!(cache.set(key.clone(), Value::new(b"v"), End::Never, 0).is_ok());
        if let Some(version) = cache.version(key.as_bytes()) {
            types.note(&key, version, "text/plain");
            types.tidy(cache);
        }
        if number % 10 > 0 {
            cache.remove(&key, 0);
        }
    }
    assert!((500..1_600).contains(&types.len()), "{}", types.len());
}

#[tokio::test]
async fn conditions_are_kept() {
    let server = open();
    let path = "/v1/caches/a/entries/k";
    let send = async |method: &Method, header: &str, tag: &str| {
        server.ask(method.clone(), path).with(header, tag).send("v").await
    };
    let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
    assert_eq!(send(&put, "if-match", "*").await.status, 412, "there is none yet");
    assert_eq!(send(&delete, "if-match", "*").await.status, 412);
    assert_eq!(send(&get, "if-match", "*").await.status, 412);
    assert_eq!(send(&put, "if-none-match", "*").await.status, 201);
    assert_eq!(send(&put, "if-none-match", "*").await.problem(), "precondition-failed");
    let tag = server.get(path).await.header("etag").unwrap().to_owned();
    assert_eq!(send(&get, "if-none-match", &tag).await.status, 304);
    assert_eq!(send(&get, "if-none-match", &format!("W/{tag}")).await.status, 304);
    let changed = send(&get, "if-none-match", "\"other\"").await;
    assert_eq!((changed.status, changed.header("etag")), (200, Some(&*tag)));
    let same = send(&get, "if-none-match", &tag).await;
    assert_eq!((same.body.len(), same.header("etag")), (0, Some(&*tag)));

    assert_eq!(send(&put, "if-match", &format!("\"other\", {tag}")).await.status, 204);
    assert_eq!(send(&put, "if-match", &tag).await.status, 412, "it was overwritten");
    assert_eq!(send(&delete, "if-match", &tag).await.status, 412);
    assert_eq!(send(&put, "if-match", "other").await.problem(), "bad-request");
    assert_eq!(send(&delete, "if-match", "*").await.status, 204);
}

#[tokio::test]
async fn a_time_to_live_is_named_in_three_ways() {
    let server = open();
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let table: [Row<'_>; 7] = [
        ("", &[], None),
        ("?ttl_ms=90500", &[("ostler-ttl", "7"), ("cache-control", "max-age=8")], Some("91")),
        ("", &[("ostler-ttl", "7"), ("cache-control", "max-age=8")], Some("7")),
        ("", &[("cache-control", "max-age=80")], Some("80")),
        ("", &[("cache-control", "public, Max-Age=\"80\"")], Some("80")),
        ("", &[("cache-control", "no-transform")], None),
        ("?ttl_ms=3153600000000", &[], Some("3153600000")),
    ];
    for (query, headers, ttl) in table {
        let path = "/v1/caches/a/entries/k";
        let mut put = server.ask(Method::PUT, &format!("{path}{query}"));
        for (name, value) in headers {
            put = put.with(name, value);
        }
        assert!(put.send("v").await.status < 300, "{query} {headers:?}");
        let get = server.get(path).await;
        assert_eq!(get.header("ostler-ttl"), ttl, "{query} {headers:?}");
        let cached = ttl.map_or("no-cache".to_owned(), |ttl| format!("max-age={ttl}"));
        assert_eq!(get.header("cache-control"), Some(&*cached));
    }
    for (query, header) in [
        ("?ttl_ms=5", "0"),
        ("?ttl_ms=0", "1"),
        ("?ttl_ms=-1", "1"),
        ("?ttl_ms=3153600000001", "1"),
        ("?ttl=5", "1"),
        ("", "0"),
        ("", "1.5"),
        ("", "99999999999999999999"),
    ] {
        let ask = server.ask(Method::PUT, &format!("/v1/caches/a/entries/k{query}"));
        let answer = ask.with("ostler-ttl", header).send("v").await;
        assert_eq!(answer.problem(), "bad-request", "{query} {header}");
    }
}

#[tokio::test]
async fn databases_of_a_cache_are_apart() {
    let server = open();
    for (path, value) in [("a/entries/k", "zero"), ("a/entries/k?database=1", "one")] {
        assert_eq!(server.put(&format!("/v1/caches/{path}"), value).await.status, 201);
    }
    assert_eq!(server.get("/v1/caches/a/entries/k?database=0").await.text(), "zero");
    assert_eq!(server.get("/v1/caches/a/entries/k?database=1").await.text(), "one");
    assert_eq!(server.get("/v1/caches/b/entries/k").await.status, 404);
    for wrong in ["2", "16", "999", "-1", "x"] {
        let answer = server.get(&format!("/v1/caches/a/entries/k?database={wrong}")).await;
        assert_eq!(answer.problem(), "bad-request", "{wrong}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let server = open();
    let heavy = server.put("/v1/caches/a/entries/k", vec![0; 600 << 10]).await;
    assert_eq!((heavy.status, &*heavy.problem()), (413, "too-large"));
    let bytes_max = heavy.json()["bytes_max"].as_u64().unwrap();
    let fits = server.put("/v1/caches/a/entries/k", vec![0; bytes_max as usize]).await;
    assert_eq!(fits.status, 201);
    let one_more = server.put("/v1/caches/a/entries/k", vec![0; bytes_max as usize + 1]).await;
    assert_eq!(one_more.status, 413);
    for path in ["/v1/caches/a/entries/%", "/v1/caches/a/entries/%0", "/v1/caches/a/entries/%zz"] {
        // Not every one is a URI to begin with.
        if path.parse::<axum::http::Uri>().is_ok() {
            assert_eq!(server.get(path).await.problem(), "bad-request", "{path}");
        }
    }
}

#[tokio::test]
async fn many_entries_go_at_once() {
    let server = open();
    let fill = async || {
        for (database, key) in [(0, "x:1"), (0, "x:2"), (0, "y"), (1, "x:1")] {
            let path = format!("/v1/caches/a/entries/{key}?database={database}");
            assert!(server.put(&path, "v").await.status < 300);
        }
    };
    let table = [
        (r#"{"keys":["x:1","x:1","gone"]}"#, 1, 3),
        (r#"{"keys":[]}"#, 0, 4),
        (r#"{"prefix":"x:"}"#, 2, 2),
        (r#"{"prefix":"x:","database":1}"#, 1, 3),
        (r#"{"prefix":""}"#, 3, 1),
        (r#"{"all":true,"database":1}"#, 1, 3),
        (r#"{"all":true,"database":1.0}"#, 1, 3),
        (r#"{"all":true}"#, 4, 0),
    ];
    for (body, removed, left) in table {
        fill().await;
        let answer = server.post("/v1/caches/a/invalidate", body).await;
        assert_eq!(answer.json()["removed"], removed, "{body}");
        assert_eq!(server.service.caches[0].cache().len(), left, "{body}");
    }
    for wrong in [
        "{}",
        r#"{"all":false}"#,
        r#"{"all":true,"prefix":"x"}"#,
        r#"{"keys":"x"}"#,
        r#"{"all":true,"database":2}"#,
        r#"{"all":true,"database":0.5}"#,
        r#"{"all":true,"prefix":null}"#,
        r#"{"al":true}"#,
    ] {
        let answer = server.post("/v1/caches/a/invalidate", wrong).await;
        assert_eq!(answer.problem(), "bad-request", "{wrong}");
    }
}

#[tokio::test]
async fn rows_of_entries_that_go_without_a_write_go_as_well() {
    let server = open();
    let types = crate::http::content_types::ContentTypes::default();
    let cache = &server.service.caches[0];
    let keys: Vec<_> = (0..900).map(|n| Key::new(0, format!("k{n}").as_bytes())).collect();
    for key in &keys {
        assert!(cache.set(key.clone(), Value::new(b"v"), End::Never, 0).is_ok());
        types.note(key, cache.version(key.as_bytes()).unwrap(), "text/plain");
    }
    types.settle(cache);
    assert_eq!(types.len(), 900);
    for key in &keys[..800] {
        cache.remove(key, 0);
    }
    types.tidy(cache);
    types.settle(cache);
    assert_eq!(types.len(), 100);
    let version = cache.version(keys[899].as_bytes()).unwrap();
    assert_eq!(types.get(&keys[899], version).as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn types_are_kept_once_and_are_bounded() {
    let server = open();
    let types = crate::http::content_types::ContentTypes::default();
    let cache = &server.service.caches[0];
    let key = Key::new(0, b"k");
    assert!(cache.set(key.clone(), Value::new(b"v"), End::Never, 0).is_ok());
    let version = cache.version(key.as_bytes()).unwrap();
    let noted = |content_type: &str| {
        types.note(&key, version, content_type);
        types.get(&key, version)
    };
    let first = noted("text/0").unwrap();
    for number in 0..3_000 {
        let name = format!("text/{number}");
        let expected = (number < 1_024).then_some(&*name);
        assert_eq!(noted(&name).as_deref(), expected, "the default is what one too many has");
    }
    assert!(std::sync::Arc::ptr_eq(&first, &noted("text/0").unwrap()));
}

#[tokio::test]
async fn who_waits_for_entries_holds_nobody_else_up() {
    let server = open();
    let path = "/v1/caches/a/entries/k";
    assert_eq!(server.put(path, "v").await.status, 201);
    for (method, status) in [(Method::GET, 200), (Method::PUT, 204), (Method::DELETE, 204)] {
        let lane = server.service.lanes.of_api();
        let mut waiting = Box::pin(server.ask(method.clone(), path).send("w"));
        for _ in 0..10 {
            tokio::select! {
                biased;
                answer = &mut waiting => unreachable!("{method} did not wait: {}", answer.status),
                probe = server.get("/healthz") => assert_eq!(probe.status, 200),
            }
        }
        drop(lane);
        assert_eq!(waiting.await.status, status, "{method}");
    }
}

#[tokio::test]
async fn a_cache_with_too_little_room_takes_nothing() {
    let mut settings = settings();
    settings.caches.truncate(1);
    let server = server(settings);
    crate::room::set_capacity(&server.service, 1_000);
    let path = "/v1/caches/a/entries/k";
    assert_eq!(server.put(path, "v").await.problem(), "too-large");
    assert_eq!(server.get(path).await.status, 404);
    crate::room::set_capacity(&server.service, 0);
    assert_eq!(server.put(path, "v").await.status, 201);
}
