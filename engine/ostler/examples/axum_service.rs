//! A JSON service in front of a slow origin: every answer is loaded once and served from the cache
//! until it is a minute old.
//!
//! `cargo run --release -p ostler --example axum_service` starts it on a free port, sends it a few
//! requests, prints the answers and ends.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use ostler::{Cache, InsertOptions};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the service serves. Values are cloned at every hit, so a large one belongs into an `Arc`.
#[derive(Serialize)]
struct Article {
    number: u32,
    title: String,
}

/// What every request handler shares. Cloning a cache shares it, too.
#[derive(Clone)]
struct Shop {
    articles: Cache<u32, Arc<Article>>,
    origin_calls: Arc<AtomicU32>,
}

impl Shop {
    /// The origin: a database far away. Numbers from 1000 on it does not have.
    async fn fetch(&self, number: u32) -> Result<Arc<Article>, StatusCode> {
        self.origin_calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if number >= 1000 {
            return Err(StatusCode::NOT_FOUND);
        }
        Ok(Arc::new(Article { number, title: format!("Article {number}") }))
    }
}

/// However many requests ask for an article at once, one fetches it and the others wait for that. An
/// error reaches all of them and is not kept.
async fn article(
    State(shop): State<Shop>,
    Path(number): Path<u32>,
) -> Result<Json<Arc<Article>>, StatusCode> {
    let minute = InsertOptions::new().ttl(Duration::from_secs(60));
    let loaded = shop.articles.get_or_load_with(&number, minute, shop.fetch(number)).await;
    loaded.map(Json).map_err(|status| *status)
}

#[derive(Serialize)]
struct Report {
    entries: u64,
    hit_ratio: f64,
    policy: Option<String>,
    origin_calls: u32,
}

async fn stats(State(shop): State<Shop>) -> Json<Report> {
    let stats = shop.articles.stats();
    Json(Report {
        entries: stats.entries,
        hit_ratio: stats.hit_ratio(),
        policy: shop.articles.seat_status().desired,
        origin_calls: shop.origin_calls.load(Ordering::Relaxed),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let articles = ostler::builder(10_000)?.build()?;
    let shop = Shop { articles, origin_calls: Arc::default() };
    let service = Router::new()
        .route("/articles/{number}", get(article))
        .route("/stats", get(stats))
        .with_state(shop);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move { axum::serve(listener, service).await });

    // Ten requests for one article at once, one for another, one for an article that is not there.
    let together: Vec<_> = (0..10).map(|_| tokio::spawn(request(address, "/articles/7"))).collect();
    for answer in together {
        assert!(answer.await??.contains("Article 7"));
    }
    for path in ["/articles/7", "/articles/8", "/articles/4711", "/stats"] {
        println!("{path}: {}", request(address, path).await?);
    }
    server.abort();
    Ok(())
}

/// A plain GET: the status line and the body.
async fn request(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(format!("{status} {body}"))
}
