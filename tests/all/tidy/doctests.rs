//! Every item that a user of the live cache meets has an example in its documentation.
//!
//! Reads the sources as text: the names that `ostler` exports, and the functions of the cache and its
//! settings. An item counts where the comment above it holds a fenced block.

use std::collections::BTreeSet;

use super::{Source, report, sources};

/// Where exported items and the cache's own functions are defined.
const FOLDERS: [&str; 2] = ["engine/core/src/", "engine/ostler/src/"];
/// Files all of whose public functions are the user's.
const CACHE_FILES: [&str; 8] = [
    "engine/core/src/cache.rs",
    "engine/core/src/cache/builder.rs",
    "engine/core/src/cache/control.rs",
    "engine/core/src/cache/iter.rs",
    "engine/core/src/cache/load.rs",
    "engine/core/src/cache/observe.rs",
    "engine/core/src/cache/read.rs",
    "engine/core/src/cache/write.rs",
];

/// The names in the `pub use` items of `text`, but for renamed crates.
fn exported(text: &str) -> BTreeSet<String> {
    let items = text.split(';').filter_map(|item| item.split_once("pub use ").map(|it| it.1));
    let lists = items.filter(|item| !item.contains(" as ")).filter_map(|it| it.rsplit("::").next());
    let names = lists.flat_map(|list| list.split([',', '{', '}', ' ', '\n']));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The name that a line defines for everybody, none where it does not.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.trim_start().strip_prefix("pub ")?.split_whitespace();
    let kind = words.find(|word| !["const", "async", "unsafe"].contains(word))?;
    let rest = match kind {
        "struct" | "enum" | "trait" | "fn" | "type" => words.next()?,
        _ => return None,
    };
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

/// True where the comment above line `index` has an example, or the item is hidden.
fn is_shown(lines: &[&str], index: usize) -> bool {
    let above = lines[..index].iter().rev().map(|line| line.trim());
    // Comments and attributes, which may have several lines.
    let mut above = above.take_while(|line| {
        line.starts_with("///") || !(line.is_empty() || line.ends_with(['}', ';', '{']))
    });
    above.any(|line| line.starts_with("/// ```") || line == "#[doc(hidden)]")
}

/// `file:line: name` of every item in `source` that `wanted` names and that shows nothing.
fn silent(source: &Source, wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut problems = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some(name) = defined(line)
            && wanted(line, name)
            && !is_shown(&lines, index)
        {
            problems.push(format!("{}:{}: {name} has no example", source.name, index + 1));
        }
    }
    problems
}

#[test]
fn what_a_user_of_the_cache_meets_has_an_example() {
    let sources = sources();
    let facade = sources.iter().find(|source| source.name == "engine/ostler/src/lib.rs");
    let mut names = exported(&facade.expect("the facade is there").text);
    names.extend(["Wants", "Batch"].map(str::to_owned));
    assert!(names.contains("Cache") && names.contains("policy_from_module"), "{names:?}");
    let mut problems = Vec::new();
    for source in &sources {
        if FOLDERS.iter().any(|folder| source.name.starts_with(folder)) {
            let is_top = |line: &str, name: &str| !line.starts_with(' ') && names.contains(name);
            problems.extend(silent(source, is_top));
        }
        if CACHE_FILES.contains(&source.name.as_str()) {
            problems.extend(silent(source, |line, _| line.starts_with("    pub ")));
        }
    }
    report(&problems);
}

#[test]
fn examples_are_seen() {
    let lines = ["/// One.", "///", "/// ```", "#[must_use]", "pub fn one() {", "pub fn two() {"];
    assert_eq!(lines.map(defined)[4..], [Some("one"), Some("two")]);
    assert!(is_shown(&lines, 4) && !is_shown(&lines, 5));
    assert_eq!(defined("    pub async fn three<E>("), Some("three"));
    assert_eq!(defined("pub(crate) fn four()"), None);
    let names = exported("pub use a::{B, c};\npub use ostler_wasm as wasm;\npub use d::E;");
    assert!(names.iter().eq(["B", "E", "c"]), "{names:?}");
}
