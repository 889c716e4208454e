//! Hygiene of the repository, as a test: what reviews would otherwise repeat.

mod doctests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ostler_tests::{files, relative, root};
use sha2::Digest as _;

/// Longest source file, lines.
const FILE_LINES_MAX: usize = 800;
/// Longest source line, characters; the formatter keeps code shorter, this is for comments and texts.
const LINE_CHARS_MAX: usize = 120;
/// Largest file, bytes: the repository is cloned by everyone.
const FILE_BYTES_MAX: u64 = 600 << 10;
/// Words that say nothing, in identifiers and file names.
const BANNED_WORDS: [&str; 8] =
    ["mgr", "util", "utils", "helper", "helpers", "misc", "common", "impls"];
/// Crates whose names are not ours to choose.
const CRATES: [&str; 3] = ["futures_util", "http_body_util", "hyper_util"];
/// The only files with unsafe code: a lock, guest memory, and the glue of a guest.
const UNSAFE_FILES: [&str; 4] = [
    "engine/core/src/spin.rs",
    "engine/wasm/src/memory.rs",
    "sdk/src/export.rs",
    "sdk/src/guest.rs",
];

/// A source file of the project.
struct Source {
    name: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let rust = files().into_iter().filter(|path| has_suffix(path, "rs"));
    rust.map(|path| Source { name: relative(&path), text: read(&path) }).collect()
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|found| found == suffix)
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| format!("{}: {error}", relative(path))).expect("a readable text")
}

/// Fails with all problems at once, one a line.
fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// A line without its comment and without the insides of its strings.
fn code_of(line: &str) -> String {
    let code = without_texts(line);
    code.split_once("//").map_or(code.clone(), |(code, _)| code.to_owned())
}

/// A line without the insides of its strings.
fn without_texts(line: &str) -> String {
    let mut code = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // Quotes in a comment are no strings.
            '/' if letters.peek() == Some(&'/') => {
                code.push(letter);
                code.extend(letters.by_ref());
            }
            '"' => {
                while let Some(inner) = letters.next() {
                    match inner {
                        '\\' => drop(letters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                code.push_str("\"\"");
            }
            _ => code.push(letter),
        }
    }
    code
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|it| !it.is_empty())
}

/// Lower-case words of an identifier: `NamesStranger` and `names_stranger` have two.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for letter in identifier.chars() {
        if letter == '_' || (letter.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}

#[test]
fn every_source_file_says_what_it_owns() {
    let silent = |source: &Source| !source.text.starts_with("//!");
    let names: Vec<String> =
        sources().into_iter().filter(silent).map(|source| source.name).collect();
    report(&names);
}

#[test]
fn files_and_lines_are_short() {
    let mut problems = Vec::new();
    for Source { name, text } in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            // A row of a table and a long text cannot be broken.
            let is_row = line.trim_start().trim_start_matches(['/', '!']).starts_with(" |");
            let length = without_texts(line).chars().count();
            if length > LINE_CHARS_MAX && !is_row {
                problems.push(format!("{name}:{number}: {length} characters"));
            }
            if line.ends_with([' ', '\t']) {
                problems.push(format!("{name}:{number}: blanks at the end"));
            }
        }
    }
    report(&problems);
}

#[test]
fn no_file_is_large() {
    let mut problems = Vec::new();
    for path in files() {
        let bytes = std::fs::metadata(&path).expect("a file of the checkout").len();
        if bytes > FILE_BYTES_MAX {
            problems.push(format!("{}: {bytes} bytes", relative(&path)));
        }
    }
    report(&problems);
}

/// Files that are compiled for tests only: those of a `#[cfg(test)] mod name;`.
fn test_files(all: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for Source { name, text } in all {
        let folder = match name.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => name.trim_end_matches(".rs").to_owned(),
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            let line = pair[1].trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
            let module = line.strip_prefix("mod ");
            let module = module.and_then(|rest| rest.strip_suffix(';'));
            names.extend(module.map(|module| format!("{folder}/{module}.rs")));
        }
    }
    names
}

#[test]
fn library_code_neither_panics_in_passing_nor_prints() {
    let all = sources();
    let test_files = test_files(&all);
    let panics = [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "dbg!("];
    let prints = ["println!(", "print!(", "eprintln!(", "eprint!("];
    let mut problems = Vec::new();
    for Source { name, text } in &all {
        let library = ["engine/", "sdk/", "policies/"].iter().any(|top| name.starts_with(top));
        // A module for tests has modules of its own in a folder of its name.
        let in_tests =
            |test: &String| name.starts_with(&format!("{}/", test.trim_end_matches(".rs")));
        let for_tests = test_files.contains(name) || test_files.iter().any(in_tests);
        if !library || !name.contains("/src/") || for_tests {
            continue;
        }
        let may_print = name.starts_with("engine/cli/");
        let lines = (1..).zip(text.lines());
        for (number, line) in lines.take_while(|(_, line)| line.trim() != "mod tests {") {
            let code = code_of(line);
            let banned = panics.iter().chain(prints.iter().filter(|_| !may_print));
            for word in banned.filter(|&word| contains_call(&code, word)) {
                problems.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    report(&problems);
}

/// True where `code` calls `call` itself, not something whose name ends so.
fn contains_call(code: &str, call: &str) -> bool {
    code.match_indices(call).any(|(place, _)| {
        let before = code[..place].chars().next_back();
        call.starts_with('.') || !before.is_some_and(|it| it.is_alphanumeric() || it == '_')
    })
}

#[test]
fn names_say_something() {
    let mut problems = Vec::new();
    for path in files() {
        let name = relative(&path);
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace(['-', '.'], "_"));
        if words(&stem.unwrap_or_default()).iter().any(|it| BANNED_WORDS.contains(&it.as_str())) {
            problems.push(format!("{name}: a file name that says nothing"));
        }
    }
    for Source { name, text } in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let code = code_of(line);
            for identifier in identifiers(&code) {
                let banned = words(identifier).iter().any(|it| BANNED_WORDS.contains(&it.as_str()));
                let doing = identifier.starts_with("do_") && code.contains("fn do_");
                if (banned || doing) && !CRATES.contains(&identifier) {
                    problems.push(format!("{name}:{number}: {identifier}"));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn no_test_is_ignored() {
    let mut problems = Vec::new();
    for Source { name, text } in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            if code_of(line).trim_start().starts_with("#[ignore") {
                problems.push(format!("{name}:{number}"));
            }
        }
    }
    report(&problems);
}

#[test]
fn unsafe_code_stays_in_its_files() {
    let mut problems = Vec::new();
    for Source { name, text } in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let is_unsafe = identifiers(&code_of(line)).any(|identifier| identifier == "unsafe");
            if is_unsafe && !UNSAFE_FILES.contains(&name.as_str()) {
                problems.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    report(&problems);
}

/// The names under `[dependencies]` and its variants for a target, by manifest.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for path in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let mut section = String::new();
        let mut names = BTreeSet::new();
        for line in read(path).lines() {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
            } else if section.ends_with("dependencies") && !section.contains("dev-dependencies") {
                let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
                if !name.is_empty() && !name.starts_with(['#', '"', ']', '}']) {
                    names.insert(name.to_owned());
                }
            }
        }
        all.insert(relative(path), names);
    }
    all
}

#[test]
fn wasmtime_is_named_in_the_guest_host_alone() {
    let mut problems = Vec::new();
    for (manifest, names) in dependencies() {
        let host = ["Cargo.toml", "engine/wasm/Cargo.toml"].contains(&manifest.as_str());
        problems.extend(
            names
                .iter()
                .filter(|name| *name == "wasmtime" && !host)
                .map(|_| format!("{manifest} depends on wasmtime")),
        );
    }
    for Source { name, text } in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let named = identifiers(&code_of(line)).any(|identifier| identifier == "wasmtime");
            if named && !name.starts_with("engine/wasm/") {
                problems.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    report(&problems);
}

#[test]
fn dependencies_point_one_way() {
    let policies: Vec<String> =
        policy_crates().iter().map(|name| format!("ostler-{name}")).collect();
    let mut facade =
        vec!["ostler-abi", "ostler-adapt", "ostler-core", "ostler-manifest", "ostler-wasm"];
    facade.extend(policies.iter().map(String::as_str));
    let rows: [(&str, &[&str]); 10] = [
        ("sdk/abi", &[]),
        ("sdk", &["ostler-abi"]),
        ("engine/core", &["ostler-abi"]),
        ("engine/manifest", &["ostler-abi"]),
        ("engine/wasm", &["ostler-abi", "ostler-core", "ostler-manifest"]),
        ("sdk/features", &["ostler-abi"]),
        ("engine/adapt", &["ostler-abi", "ostler-core", "ostler-features"]),
        ("engine/fetch", &["ostler-abi", "ostler-core", "ostler-features"]),
        (
            "engine/replay",
            &["ostler-abi", "ostler-adapt", "ostler-core", "ostler-features", "ostler-fetch"],
        ),
        ("engine/ostler", &facade),
    ];
    let all = dependencies();
    let mut problems = Vec::new();
    for (folder, allowed) in rows {
        let names = &all[&format!("{folder}/Cargo.toml")];
        for name in names.iter().filter(|name| name.starts_with("ostler")) {
            if !allowed.contains(&name.as_str()) {
                problems.push(format!("{folder} depends on {name}"));
            }
        }
    }
    for policy in policy_crates() {
        for name in &all[&format!("policies/{policy}/Cargo.toml")] {
            if !["ostler-policy", "ostler-features", "libm"].contains(&name.as_str()) {
                problems.push(format!("policies/{policy} depends on {name}"));
            }
        }
    }
    report(&problems);
}

/// Names of the folders under `policies` that hold a crate.
fn policy_crates() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("policies")).expect("the policies are there");
    let paths = folders.map(|entry| entry.expect("an entry of the checkout is readable").path());
    let crates = paths.filter(|path| path.join("Cargo.toml").is_file());
    let mut names: Vec<String> = crates
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_policy_is_built_in_and_has_a_row_in_the_table() {
    let mut built_in: Vec<String> = ostler_tests::BUILTINS.map(|it| it.name.to_owned()).to_vec();
    built_in.extend(ostler::PREFETCHERS.map(|it| it.name.to_owned()));
    built_in.extend(ostler::WARMERS.map(|it| it.name.to_owned()));
    built_in.sort_unstable();
    assert_eq!(policy_crates(), built_in);
    let table = read(&root().join("policies/README.md"));
    let has_row = |name: &String| {
        let first_cells =
            table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
        first_cells.into_iter().any(|cell| cell.contains(&format!("[{name}]")))
    };
    let missing: Vec<String> = built_in.iter().filter(|name| !has_row(name)).cloned().collect();
    report(&missing);
}

#[test]
fn the_committed_modules_match_their_digests() {
    let artifacts = root().join("policies/artifacts");
    let recorded = read(&artifacts.join("DIGESTS"));
    let mut modules: Vec<PathBuf> =
        files().into_iter().filter(|path| path.starts_with(&artifacts)).collect();
    modules.retain(|path| has_suffix(path, "wasm"));
    let mut actual = String::new();
    for path in modules {
        let bytes = std::fs::read(&path).expect("a module is readable");
        for byte in sha2::Sha256::digest(bytes) {
            write!(actual, "{byte:02x}").expect("a string grows");
        }
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        writeln!(actual, "  {name}").expect("a string grows");
    }
    assert_eq!(recorded, actual, "build them anew with `ostler policy build --builtin`");
}

#[test]
fn every_invariant_has_a_test_named_after_it() {
    let tests: String = sources()
        .into_iter()
        .filter(|source| source.name.starts_with("tests/all/"))
        .map(|source| source.text)
        .collect();
    let missing = (1..=9).filter(|number| !tests.contains(&format!("\nfn invariant_{number}_")));
    report(&missing.map(|number| format!("invariant {number}")).collect::<Vec<_>>());
}

#[test]
fn prose_has_no_blanks_at_the_end_of_a_line() {
    let mut problems = Vec::new();
    for path in files().iter().filter(|path| has_suffix(path, "md")) {
        for (number, line) in (1..).zip(read(path).lines()) {
            if line.ends_with([' ', '\t']) {
                problems.push(format!("{}:{number}", relative(path)));
            }
        }
    }
    report(&problems);
}

#[test]
fn the_checks_see_what_they_should() {
    assert_eq!(code_of(r#"call("do // not", x); // unsafe"#), r#"call("", x); "#);
    assert_eq!(words("FieldUtilOf_x"), ["field", "util", "of", "x"]);
    assert!(
        contains_call("x.unwrap()", ".unwrap()") && !contains_call("x.unwrap_or(1)", ".unwrap()")
    );
    assert!(contains_call("eprintln!(", "eprintln!(") && !contains_call("eprintln!(", "println!("));
}
