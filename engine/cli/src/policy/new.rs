//! `ostler policy new`: a policy from a template.
//!
//! The templates in `sdk/templates` are policies that build and pass as they stand; making a new one
//! is copying the files and putting its name where the template's stands.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::checkout;

/// Longest name of a policy made here.
const NAME_LEN_MAX: usize = 40;

/// Names of crates that every policy uses: one of its own cannot have the same.
const TAKEN: [&str; 5] = ["alloc", "core", "std", "ostler-abi", "ostler-policy"];

/// Arguments of `ostler policy new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the policy and of its folder: a-z, 0-9 and -, a letter first, at most 40.
    name: String,
    /// Where to make the folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What the policy is for.
    #[arg(long, value_enum, default_value_t = For::Eviction)]
    kind: For,
    /// Language of the policy.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// The folder `sdk` of a checkout of Ostler, for a Rust policy; found by itself where the program
    /// was built from a checkout or runs inside one.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// A language that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    Rust,
    C,
}

/// A kind of policy that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum For {
    /// Chooses what a full cache gives up.
    Eviction,
    /// Asks for keys before they are requested.
    Prefetch,
    /// Ranks what a cold cache fetches first.
    Warming,
}

/// One file of a template: its path in the new folder and its text.
type File = (&'static str, &'static str);

/// The name that stands in the files of a template, and the files.
struct Template {
    name: &'static str,
    files: &'static [File],
}

const RUST: Template = Template {
    name: "second-chance",
    files: &[
        ("Cargo.toml", include_str!("../../../../sdk/templates/rust/Cargo.toml")),
        ("src/lib.rs", include_str!("../../../../sdk/templates/rust/src/lib.rs")),
        ("README.md", include_str!("../../../../sdk/templates/rust/README.md")),
        (".gitignore", include_str!("../../../../sdk/templates/rust/.gitignore")),
    ],
};

const RUST_PREFETCH: Template = Template {
    name: "follow-up",
    files: &[
        ("Cargo.toml", include_str!("../../../../sdk/templates/rust-prefetch/Cargo.toml")),
        ("src/lib.rs", include_str!("../../../../sdk/templates/rust-prefetch/src/lib.rs")),
        ("README.md", include_str!("../../../../sdk/templates/rust-prefetch/README.md")),
        (".gitignore", include_str!("../../../../sdk/templates/rust-prefetch/.gitignore")),
    ],
};

const RUST_WARMING: Template = Template {
    name: "well-used",
    files: &[
        ("Cargo.toml", include_str!("../../../../sdk/templates/rust-warming/Cargo.toml")),
        ("src/lib.rs", include_str!("../../../../sdk/templates/rust-warming/src/lib.rs")),
        ("README.md", include_str!("../../../../sdk/templates/rust-warming/README.md")),
        (".gitignore", include_str!("../../../../sdk/templates/rust-warming/.gitignore")),
    ],
};

/// How the Rust templates name the SDK.
const RUST_SDK: &str = "path = \"../..\"";

const C: Template = Template {
    name: "clock-c",
    files: &[
        ("policy.c", include_str!("../../../../sdk/templates/c/policy.c")),
        ("ostler.h", include_str!("../../../../sdk/templates/c/ostler.h")),
        ("manifest.json", include_str!("../../../../sdk/templates/c/manifest.json")),
        ("README.md", include_str!("../../../../sdk/templates/c/README.md")),
    ],
};

/// Makes the folder and says what to do next.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    check_name(&args.name).map_err(crate::usage)?;
    let folder = args.dir.join(&args.name);
    let template = template(args).map_err(crate::usage)?;
    let files = match args.lang {
        Lang::Rust => rust_files(template, &args.name, &sdk_path(args)?)?,
        Lang::C => fill(template, &args.name),
    };
    write_files(&folder, &files)?;
    let (folder, name) = (folder.display(), &args.name);
    writeln!(out, "made {folder}: a complete policy, ready to be changed")?;
    writeln!(out, "next: ostler policy build {folder}")?;
    writeln!(out, "then: ostler policy check {folder}/{name}.wasm")?;
    Ok(())
}

/// The template for what was asked.
fn template(args: &Args) -> Result<&'static Template> {
    match (args.lang, args.kind) {
        (Lang::Rust, For::Eviction) => Ok(&RUST),
        (Lang::Rust, For::Prefetch) => Ok(&RUST_PREFETCH),
        (Lang::Rust, For::Warming) => Ok(&RUST_WARMING),
        (Lang::C, For::Eviction) => Ok(&C),
        (Lang::C, _) => bail!("the template in C is an eviction policy: leave out --kind"),
    }
}

fn check_name(name: &str) -> Result<()> {
    let rest_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    ensure!(
        name.len() <= NAME_LEN_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(rest_allowed),
        "`{}` is no name for a policy: use a-z, 0-9 and -, a letter first, at most {NAME_LEN_MAX}",
        name.escape_debug()
    );
    ensure!(
        !TAKEN.contains(&name),
        "`{name}` is the name of a crate that policies use: take another"
    );
    Ok(())
}

/// The SDK that a Rust policy is built against, as an absolute path.
fn sdk_path(args: &Args) -> Result<PathBuf> {
    if let Some(sdk) = &args.sdk {
        ensure!(
            checkout::is_sdk(sdk),
            "{} is not the folder of the crate ostler-policy: give the `sdk` folder of a checkout",
            sdk.display()
        );
        return sdk.canonicalize().with_context(|| format!("cannot read {}", sdk.display()));
    }
    checkout::find_sdk(&args.dir).context(
        "no checkout of Ostler was found here: name its `sdk` folder with --sdk DIR \
         (a policy in C needs none: --lang c)",
    )
}

fn rust_files(template: &Template, name: &str, sdk: &Path) -> Result<Vec<(&'static str, String)>> {
    let sdk = sdk.to_str().filter(|sdk| !sdk.contains(['\'', '\n']));
    let sdk = sdk.context("the path of the SDK cannot be written into a Cargo.toml")?;
    let mut files = fill(template, name);
    for (_, text) in &mut files {
        *text = text.replace(RUST_SDK, &format!("path = '{sdk}'"));
    }
    Ok(files)
}

/// The template's files with `name` instead of the template's own name, in both spellings.
fn fill(template: &Template, name: &str) -> Vec<(&'static str, String)> {
    let (old_type, new_type) = (type_name(template.name), type_name(name));
    let fill = |&(path, text): &File| {
        (path, text.replace(template.name, name).replace(&old_type, &new_type))
    };
    template.files.iter().map(fill).collect()
}

/// `second-chance` as a Rust type: `SecondChance`.
fn type_name(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            [first.to_ascii_uppercase(), rest.to_owned()]
        })
        .collect()
}

fn write_files(folder: &Path, files: &[(&'static str, String)]) -> Result<()> {
    if folder.exists() {
        bail!("{} exists already: choose another name or --dir", folder.display());
    }
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().expect("invariant: every file of a template is in the folder");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "a".repeat(41);
        assert!(TAKEN.iter().all(|name| check_name(name).is_err()));
        for name in ["", "A", "9lives", "-a", "a_b", "a b", "../a", "ä", long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["a", "second-chance", "s3-fifo-2", &long[..40]] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn types_are_named_after_the_policy() {
        let rows = [("lru", "Lru"), ("s3-fifo", "S3Fifo"), ("a--b-", "AB"), ("x2-3", "X23")];
        for (name, expected) in rows {
            assert_eq!(type_name(name), expected);
        }
    }

    #[test]
    fn no_name_of_the_template_is_left() {
        let templates = [
            (&RUST, "MyOwnParams"),
            (&RUST_PREFETCH, "MyOwnParams"),
            (&RUST_WARMING, "MyOwnParams"),
            (&C, "\"my-own\""),
        ];
        for (template, path_in_text) in templates {
            let files = fill(template, "my-own");
            let old_type = type_name(template.name);
            for (path, text) in &files {
                assert!(!text.contains(template.name) && !text.contains(&old_type), "{path}");
            }
            assert!(files.iter().any(|(_, text)| text.contains(path_in_text)));
        }
    }

    #[test]
    fn a_rust_policy_names_the_sdk_twice_by_its_path() {
        for template in [&RUST, &RUST_PREFETCH, &RUST_WARMING] {
            let files = rust_files(template, "mine", Path::new("/some where/sdk")).unwrap();
            let cargo_toml = &files[0].1;
            assert_eq!(cargo_toml.matches("path = '/some where/sdk'").count(), 2, "{cargo_toml}");
            assert!(!cargo_toml.contains(RUST_SDK));
        }
        assert!(rust_files(&RUST, "mine", Path::new("/it's/sdk")).is_err());
    }

    #[test]
    fn an_existing_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("mine");
        write_files(&folder, &fill(&C, "mine")).unwrap();
        let error = write_files(&folder, &fill(&C, "mine")).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
    }

    #[test]
    fn an_sdk_that_is_none_is_refused() {
        let args = |sdk: &str| Args {
            name: "mine".into(),
            dir: "/".into(),
            kind: For::Eviction,
            lang: Lang::Rust,
            sdk: Some(sdk.into()),
        };
        let odd = Args { kind: For::Warming, lang: Lang::C, ..args("/") };
        assert!(template(&odd).is_err_and(|error| error.to_string().contains("leave out --kind")));
        assert!(sdk_path(&args("/")).unwrap_err().to_string().contains("`sdk` folder"));
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk");
        assert!(sdk_path(&args(sdk)).unwrap().is_absolute());
    }
}
