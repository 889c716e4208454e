//! `ostler demo`, short: it ends by itself, fails no request, loses no entry, and shows what it did. Nothing
//! here depends on how fast the machine is or on when the policy changes.

use std::fs;

use ostler_cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE};
use ostler_tests::{ostler, ostler_line};

/// What a word is followed by on its line.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let line = text.split_once(word).map(|(_, rest)| rest);
    line.and_then(|rest| rest.lines().next()).unwrap_or_else(|| unreachable!("{word} in\n{text}"))
}

#[test]
fn it_ends_with_a_table_a_page_and_nothing_lost() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = dir.path().join("report");
    let line = [
        "demo",
        "--seconds",
        "2",
        "--portfolio",
        "lru",
        "s3fifo",
        "--policy",
        "s3fifo",
        "--report",
    ];
    let args = line.iter().map(std::ffi::OsString::from).chain([report.clone().into_os_string()]);
    let ran = ostler(args);
    assert_eq!((ran.status, ran.err.as_str()), (EXIT_DONE, ""), "{}", ran.out);
    let out = &ran.out;
    assert!(out.contains("policies  s3fifo, lru; s3fifo is in charge"), "{out}");
    let is_second = |line: &str| line.contains(" s  ") && line.contains(" %  ");
    assert!(out.contains("requests/s") && out.lines().any(is_second), "{out}");
    assert!(after(out, "live: ").starts_with("60,000 requests, "), "{out}");
    for expected in [
        "hit ratio by phase, and of all 60,000 requests",
        "| adaptive ",
        "| lru ",
        "| s3fifo ",
        "| live, as served ",
        "adaptive missed ",
        "0 requests failed; the server counted the same",
        ", 0 lost over ",
        "decisions on what shadows found, as GET /v1/caches/default/decisions has them:",
    ] {
        assert!(out.contains(expected), "{expected} in\n{out}");
    }
    let index = report.join("index.html");
    assert!(out.ends_with(&format!("report: {}\n", index.display())), "{out}");
    let page = fs::read_to_string(index).expect("the page");
    for expected in
        ["<svg", "prefers-color-scheme: dark", "What the server decided", "zipf(n=15000"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    for banned in
        ["<script", "<img", "<link", "http:", "https:", "@import", "url(", "src=", "alarm\""]
    {
        assert!(!page.contains(banned), "{banned}");
    }
    let policies = fs::read_to_string(report.join("policies.csv")).expect("a table");
    let names: Vec<&str> =
        policies.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["live", "adaptive", "s3fifo", "lru"]);
    let requests = policies.lines().skip(1).map(|line| line.split(',').nth(1));
    assert!(requests.into_iter().all(|count| count == Some("60000")), "{policies}");
}

#[test]
fn what_makes_no_sense_is_said_before_anything_starts() {
    for (line, status, expected) in [
        ("demo --seconds 1", EXIT_USAGE, "1 is not in 2..=600"),
        (
            "demo --policy arc",
            EXIT_USAGE,
            "`arc` is none of the portfolio: s3fifo lru sieve wtinylfu",
        ),
        ("demo --portfolio lru", EXIT_USAGE, "2 to 8"),
        ("demo --portfolio lru sieva", EXIT_USAGE, "sieva"),
        ("demo --capacity 10%", EXIT_USAGE, "no size from 1MiB to 256MiB"),
        ("demo --capacity 1KiB", EXIT_USAGE, "no size from 1MiB to 256MiB"),
        ("demo --report /proc/nowhere", EXIT_FAILED, "/proc/nowhere"),
    ] {
        let ran = ostler_line(line);
        assert_eq!((ran.status, ran.out.as_str()), (status, ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(expected), "{line}: {}", ran.err);
    }
}
