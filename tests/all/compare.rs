//! `ostler compare`, through the command line's library: verdicts, formats, statuses, the page.

use std::fs;
use std::path::Path;

use ostler_cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE};
use ostler_tests::{Ran, guests, ostler, ostler_line};
use serde_json::Value;

/// The fields that scripts rely on.
const FIELDS: [&str; 15] = [
    "trace",
    "capacity",
    "requests",
    "baseline",
    "policy",
    "params",
    "verdict",
    "miss_ratio",
    "difference",
    "difference_low",
    "difference_high",
    "byte_difference",
    "guest_ns_per_request",
    "guest_memory_bytes",
    "faults",
];

fn done(line: &str) -> Ran {
    let ran = ostler_line(line);
    assert_eq!((ran.status, ran.err.as_str()), (EXIT_DONE, ""), "{line}: {}", ran.out);
    ran
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| unreachable!("{field} of {row}"))
}

#[test]
fn verdicts_are_those_of_the_workload() {
    // In a loop larger than the cache lru misses everything; lirs keeps what fits.
    let rows = done(
        "compare --trace loop(n=40000,keys=1000) --policy lru lirs lru --capacity 500 --objects \
         --format json",
    )
    .rows();
    let [lirs, same] = &rows[..] else { unreachable!("two challengers: {rows:?}") };
    assert_eq!((&lirs["baseline"], &lirs["policy"]), (&"lru".into(), &"lirs".into()));
    assert_eq!((&lirs["verdict"], &same["verdict"]), (&"win".into(), &"tie".into()));
    assert!(number(lirs, "difference_high") < 0.0);
    assert_eq!(number(lirs, "baseline_miss_ratio"), 1.0);
    for field in ["difference", "difference_low", "difference_high", "byte_difference_high"] {
        assert_eq!(number(same, field), 0.0, "{field}");
    }
    assert_eq!(number(lirs, "lost_hits"), 0.0);
    let gained = number(lirs, "gained_hits") / number(lirs, "requests");
    assert!((gained + number(lirs, "difference")).abs() < 1e-12);
}

#[test]
fn differences_are_those_of_the_replays() {
    let runs = "--trace zipf(n=30000,keys=3000,size=1..5000) --policy lru s3fifo native:sieve \
                --capacity 1% 64KiB --shards 2 --seed 5 --format json";
    for live in ["", " --live"] {
        let replayed = done(&format!("replay {runs}{live}")).rows();
        let compared = done(&format!("compare {runs}{live}")).rows();
        assert_eq!((replayed.len(), compared.len()), (6, 4));
        let misses = |row: &Value, field: &str| (number(row, field) * 1e9).round();
        for (index, row) in compared.iter().enumerate() {
            let (capacity, challenger) = (index / 2, index % 2 + 1);
            let (baseline, policy) =
                (&replayed[3 * capacity], &replayed[3 * capacity + challenger]);
            assert_eq!(row["capacity"], policy["capacity"]);
            assert_eq!(row["policy"], policy["policy"]);
            for field in ["miss_ratio", "byte_miss_ratio"] {
                assert_eq!(misses(row, field), misses(policy, field), "{row}{live}");
                let of_baseline = format!("baseline_{field}");
                assert_eq!(misses(row, &of_baseline), misses(baseline, field), "{row}{live}");
            }
        }
    }
}

#[test]
fn json_and_csv_have_the_same_fields_and_two_runs_agree() {
    let line = "compare --trace zipf(n=20000,keys=2000) --policy native:lru native:sieve --objects \
                --capacity 10%";
    let rows = done(&format!("{line} --format json")).rows();
    let names: Vec<&str> = rows[0].as_object().expect("a row").keys().map(String::as_str).collect();
    for field in FIELDS {
        assert!(names.contains(&field), "{field} in {names:?}");
    }
    let csv = done(&format!("{line} --format csv")).out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0].split(',').collect(), lines.len()), (names, 2));
    let again = done(&format!("{line} --format json --jobs 1")).rows();
    for field in ["difference_low", "difference_high", "error_by_key", "block_requests"] {
        assert_eq!(rows[0][field], again[0][field], "{field}");
    }
}

#[test]
fn the_table_says_who_wins_and_sums_up() {
    let table = done(
        "compare --trace loop(n=30000,keys=1000) --policy lru lirs fifo --capacity 200 500 --objects",
    )
    .out;
    for expected in ["| win ", "| tie ", "2/0/0", "0/2/0", "baseline", "mean regret", "lru's"] {
        assert!(table.contains(expected), "{expected} in\n{table}");
    }
    assert!(table.contains("Negative differences: the policy misses less than lru."), "{table}");
}

#[test]
fn without_a_trace_it_plays_the_embedded_workload() {
    let rows = done("compare --policy native:lru native:sieve --capacity 1% --format json").rows();
    assert_eq!((rows.len(), &rows[0]["requests"]), (1, &1_240_000.into()));
}

#[test]
fn statuses_tell_failed_and_misused_apart() {
    for (line, status, expected) in [
        ("compare", EXIT_USAGE, "two policies or more"),
        ("compare --policy lru", EXIT_USAGE, "the first being the baseline"),
        ("compare --policy lru belady --trace scan(n=10)", EXIT_USAGE, "knows the future"),
        ("compare --policy lru mru --trace scan(n=10)", EXIT_USAGE, "no such built-in"),
        ("compare --policy lru lru(a=1) --trace scan(n=10)", EXIT_USAGE, "`a` is unknown"),
        (
            "compare --policy lru lru --trace scan(n=10) --objects --capacity 1KiB",
            EXIT_USAGE,
            "size",
        ),
        ("compare --policy lru lru --trace /nowhere/x.csv", EXIT_FAILED, "/nowhere/x.csv"),
        ("compare --policy lru /nowhere/x.wasm", EXIT_FAILED, "/nowhere/x.wasm"),
        ("compare --policy lru lru --report /proc/nowhere", EXIT_FAILED, "/proc/nowhere"),
    ] {
        let ran = ostler_line(line);
        assert_eq!((ran.status, ran.out.as_str()), (status, ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(expected) && ran.err.lines().count() == 1, "{line}: {}", ran.err);
    }
}

#[test]
fn a_fault_is_shown_loudly_and_the_comparison_is_done() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("hostile.wasm");
    let guests = guests();
    let guest = guests.iter().find(|guest| guest.name == "repeats_victim");
    fs::write(&path, &guest.expect("a guest that names wrong victims").module).expect("a file");
    let report = dir.path().join("report");
    let args = ["compare", "--trace", "zipf(n=20000,keys=2000)", "--objects", "--capacity", "100"];
    let paths = [path.as_os_str(), "--report".as_ref(), report.as_os_str()];
    let args = args.into_iter().chain(["--policy", "lru"]).map(Into::into);
    let ran = ostler(args.chain(paths.map(std::ffi::OsStr::to_owned)));
    assert_eq!(ran.status, EXIT_DONE, "{}", ran.err);
    assert!(ran.out.contains("FAULT: ") && ran.out.contains("the fallback served"), "{}", ran.out);
    let page = fs::read_to_string(report.join("index.html")).expect("the page");
    assert!(page.contains("class=\"alarm\"") && page.contains("FAULT: "));
}

/// Elements that have no end.
const VOID: [&str; 3] = ["!doctype", "meta", "br"];

/// Fails unless every element of `page` is closed in its order.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for (_, rest) in page.match_indices('<').map(|(place, _)| page.split_at(place + 1)) {
        let (tag, _) = rest.split_once('>').expect("every tag ends");
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
        if VOID.contains(&name) || name.starts_with("!--") || tag.ends_with('/') {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "…<{}", &rest[..rest.len().min(80)]);
        } else {
            open.push(name);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
}

/// A comparison with hostile names, in `folder`.
fn hostile_report(folder: &Path) -> String {
    let trace = folder.join("<script>alert(1)&\"'x.csv");
    let rows: String = (0..4000).map(|row| format!("{row},{}\n", row * row % 701)).collect();
    fs::write(&trace, format!("time,key\n{rows}")).expect("a trace");
    let policy = folder.join("<img src=x onerror=a>.wasm");
    fs::copy(ostler_tests::root().join("policies/artifacts/sieve.wasm"), &policy).expect("a copy");
    let report = folder.join("report");
    let args: [std::ffi::OsString; 12] = [
        "compare".into(),
        "--trace".into(),
        trace.into(),
        "zipf(n=60000,keys=20000,size=1..9000)".into(),
        "--policy".into(),
        "lru".into(),
        policy.into(),
        "--capacity".into(),
        "1%".into(),
        "10%".into(),
        "--report".into(),
        report.clone().into(),
    ];
    let ran = ostler(args);
    assert_eq!((ran.status, ran.err.as_str()), (EXIT_DONE, ""));
    let page = report.join("index.html");
    assert!(ran.out.ends_with(&format!("report: {}\n", page.display())), "{}", ran.out);
    fs::read_to_string(page).expect("the page")
}

#[test]
fn the_page_is_whole_escaped_and_self_contained() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let page = hostile_report(dir.path());
    assert_well_formed(&page);
    assert!(page.contains("&lt;img src=x onerror=a&gt;.wasm"));
    for banned in
        ["<script", "<img", "<link", "<iframe", "http:", "https:", "@import", "url(", "src="]
    {
        let found = page.replace("src=x onerror", "");
        assert!(!found.contains(banned), "{banned}");
    }
    for expected in
        ["prefers-color-scheme: dark", "ostler compare --trace", "seed 0", "<svg", "polyline"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(page.contains(env!("CARGO_PKG_VERSION")));
    for link in page.split("href=\"").skip(1) {
        let name = link.split('"').next().unwrap_or_default();
        let csv = fs::read_to_string(dir.path().join("report").join(name)).expect("a linked file");
        assert!(csv.lines().count() > 1, "{name}");
    }
}

#[test]
fn a_report_replaces_a_report_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().display();
    let line = format!(
        "compare --trace scan(n=100) --policy native:lru native:fifo --objects --capacity 10 --report {path}"
    );
    done(&line);
    let first = fs::read(dir.path().join("comparison.csv")).expect("a table");
    done(&line);
    assert!(!first.is_empty());
    fs::write(dir.path().join("mine.txt"), "precious").expect("a file");
    let ran = ostler_line(&line);
    assert_eq!((ran.status, ran.out.as_str()), (EXIT_FAILED, ""));
    assert!(ran.err.contains("mine.txt"), "{}", ran.err);
}
