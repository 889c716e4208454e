//! A `--trace` argument: which trace, in which format.
//!
//! Owns the grammar of the argument, except for workload specs. It must not know what is in a
//! trace.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::oracle::RECORD_BYTES;
use super::{CsvOptions, Format, Packing, Request, TimeUnit, TraceReader};
use crate::error::TraceError;
use crate::workload::{self, Workload};

const SUFFIXES: &str = ".oracleGeneral, .oracleGeneral.bin, .csv, .lis, .trc, .lirs, .spc, each \
                        also with .zst";
const FORMATS: &str = "oracleGeneral, csv, arc, lirs, spc, twitter, meta";

/// What a `--trace` argument names: a file in a format, or a generated workload.
///
/// ```text
/// PATH                     format by suffix, with `.zst` after it or not:
///                          .oracleGeneral .oracleGeneral.bin .csv .lis .trc .lirs .spc
/// FORMAT:PATH              oracleGeneral csv arc lirs spc twitter meta; zstd if PATH ends in .zst
/// csv:PATH?NAME=VALUE&…    time= key= size= cost= op= (column names; empty: do not use)
///                          time_unit=s|ms|us|ns delimiter=CHARACTER|tab
/// NAME(…)                  a generated workload, see `Workload`
/// ```
///
/// Suffixes and formats are matched in upper and lower case. A file whose name looks like a
/// workload is reached with a format prefix, a CSV path that holds a `?` with one more at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSource {
    /// The argument as given.
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    File { path: PathBuf, format: Format, packing: Packing },
    Workload(Workload),
}

impl TraceSource {
    /// A short name for reports: the file's name without folders and suffixes, or the spec.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Workload(_) => self.text.clone(),
            Kind::File { path, .. } => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                let (stem, _) = without_zst(&name);
                let known = by_suffix(stem).map_or(0, |(_, suffix)| suffix.len());
                stem[..stem.len() - known].to_owned()
            }
        }
    }

    /// Starts reading from the beginning.
    ///
    /// # Errors
    ///
    /// [`TraceError::Open`] if the file does not open.
    pub fn open(&self) -> Result<TraceReader, TraceError> {
        match &self.kind {
            Kind::File { path, format, packing } => TraceReader::open(path, format, *packing),
            Kind::Workload(workload) => Ok(TraceReader::generate(workload)),
        }
    }

    /// Reads the whole trace into memory, 24 bytes a request, to be shared by several runs.
    ///
    /// # Errors
    ///
    /// Any [`TraceError`] of the trace; [`TraceError::TooLong`] if there are more than
    /// `requests_max` requests.
    pub fn load(&self, requests_max: usize) -> Result<Vec<Request>, TraceError> {
        let expected = self.requests().map_or(0, |known| usize::try_from(known).unwrap_or(0));
        self.open()?.read_all_expecting(expected.min(requests_max), requests_max)
    }

    /// How many requests there are, where that is known without reading: for workloads and for
    /// uncompressed `oracleGeneral` files. For progress bars.
    #[must_use]
    pub fn requests(&self) -> Option<u64> {
        match &self.kind {
            Kind::Workload(workload) => Some(workload.requests()),
            Kind::File { path, format: Format::OracleGeneral, packing: Packing::Plain } => {
                Some(path.metadata().ok()?.len() / RECORD_BYTES as u64)
            }
            Kind::File { .. } => None,
        }
    }
}

impl fmt::Display for TraceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Workload> for TraceSource {
    fn from(workload: Workload) -> Self {
        Self { text: workload.to_string(), kind: Kind::Workload(workload) }
    }
}

impl FromStr for TraceSource {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let text = text.trim();
        let kind = if let Some((format, path)) = with_prefix(text)? {
            file(path, format)
        } else if workload::looks_like_spec(text) {
            Kind::Workload(text.parse()?)
        } else if let Some((format, _)) = by_suffix(without_zst(text).0) {
            file(text, format)
        } else {
            return Err(TraceError::UnknownFormat {
                input: text.to_owned(),
                suffixes: SUFFIXES,
                formats: FORMATS,
                workloads: workload::GENERATORS,
            });
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

fn file(path: &str, format: Format) -> Kind {
    Kind::File { path: Path::new(path).to_owned(), format, packing: without_zst(path).1 }
}

/// `FORMAT:PATH`, if the argument is one.
fn with_prefix(text: &str) -> Result<Option<(Format, &str)>, TraceError> {
    let Some((prefix, path)) = text.split_once(':') else { return Ok(None) };
    let format = match prefix.to_ascii_lowercase().as_str() {
        "oraclegeneral" => Format::OracleGeneral,
        "arc" => Format::Arc,
        "lirs" => Format::Lirs,
        "spc" => Format::Spc,
        "twitter" => Format::Twitter,
        "meta" => Format::Meta,
        "csv" => {
            let (path, options) = path.rsplit_once('?').unwrap_or((path, ""));
            return Ok(Some((Format::Csv(csv_options(text, options)?), path)));
        }
        _ => return Ok(None),
    };
    Ok(Some((format, path)))
}

/// The name without `.zst`, and whether it had one.
fn without_zst(name: &str) -> (&str, Packing) {
    match strip_suffix(name, ".zst") {
        Some(stem) => (stem, Packing::Zstd),
        None => (name, Packing::Plain),
    }
}

/// The format that a name's suffix stands for, and the suffix.
fn by_suffix(name: &str) -> Option<(Format, &'static str)> {
    let known = [
        (Format::OracleGeneral, ".oracleGeneral"),
        (Format::OracleGeneral, ".oracleGeneral.bin"),
        (Format::Csv(CsvOptions::default()), ".csv"),
        (Format::Arc, ".lis"),
        (Format::Lirs, ".trc"),
        (Format::Lirs, ".lirs"),
        (Format::Spc, ".spc"),
    ];
    known.into_iter().find(|(_, suffix)| strip_suffix(name, suffix).is_some())
}

fn strip_suffix<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(stem)
}

fn csv_options(input: &str, options: &str) -> Result<CsvOptions, TraceError> {
    let mut parsed = CsvOptions::default();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let bad = |reason: &str| TraceError::BadOption {
            input: input.to_owned(),
            option: option.to_owned(),
            reason: reason.to_owned(),
        };
        let Some((name, value)) = option.split_once('=') else {
            return Err(bad("has no value, write NAME=VALUE"));
        };
        let column = Some(value.to_owned());
        match name {
            "time" => parsed.time = column,
            "key" if value.is_empty() => return Err(bad("is empty, but a key is needed")),
            "key" => parsed.key = column,
            "size" => parsed.size = column,
            "cost" => parsed.cost = column,
            "op" => parsed.op = column,
            "time_unit" => {
                parsed.time_unit = match value {
                    "s" => TimeUnit::Seconds,
                    "ms" => TimeUnit::Milliseconds,
                    "us" => TimeUnit::Microseconds,
                    "ns" => TimeUnit::Nanoseconds,
                    _ => return Err(bad("is no unit, use s, ms, us or ns")),
                }
            }
            "delimiter" => {
                parsed.delimiter = match value.as_bytes() {
                    b"tab" => b'\t',
                    [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => {
                        *byte
                    }
                    _ => return Err(bad("is no delimiter, use one punctuation mark or tab")),
                }
            }
            _ => {
                let known = "time, key, size, cost, op, time_unit, delimiter";
                return Err(bad(&format!("is unknown, there are {known}")));
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::tests_support::{keys, pack_zstd};
    use super::*;

    fn parsed(text: &str) -> (String, Format, Packing) {
        match text.parse::<TraceSource>().unwrap().kind {
            Kind::File { path, format, packing } => (path.display().to_string(), format, packing),
            Kind::Workload(workload) => panic!("{text} is the workload {workload}"),
        }
    }

    #[test]
    fn suffixes_and_prefixes_tell_the_format() {
        let csv = || Format::Csv(CsvOptions::default());
        for (text, path, format, packing) in [
            ("a/b.oracleGeneral", "a/b.oracleGeneral", Format::OracleGeneral, Packing::Plain),
            ("b.ORACLEGENERAL.BIN", "b.ORACLEGENERAL.BIN", Format::OracleGeneral, Packing::Plain),
            ("b.oracleGeneral.zst", "b.oracleGeneral.zst", Format::OracleGeneral, Packing::Zstd),
            (
                "b.oracleGeneral.bin.zst",
                "b.oracleGeneral.bin.zst",
                Format::OracleGeneral,
                Packing::Zstd,
            ),
            ("b.csv", "b.csv", csv(), Packing::Plain),
            ("P3.lis.ZST", "P3.lis.ZST", Format::Arc, Packing::Zstd),
            ("cs.trc", "cs.trc", Format::Lirs, Packing::Plain),
            ("cs.lirs.zst", "cs.lirs.zst", Format::Lirs, Packing::Zstd),
            ("W1.spc", "W1.spc", Format::Spc, Packing::Plain),
            ("twitter:c52.csv.zst", "c52.csv.zst", Format::Twitter, Packing::Zstd),
            ("meta:kv", "kv", Format::Meta, Packing::Plain),
            ("ARC:a.csv", "a.csv", Format::Arc, Packing::Plain),
            ("lirs:zipf(1)", "zipf(1)", Format::Lirs, Packing::Plain),
            ("spc:x", "x", Format::Spc, Packing::Plain),
            ("oracleGeneral:x:y", "x:y", Format::OracleGeneral, Packing::Plain),
            ("c:\\traces\\a.csv", "c:\\traces\\a.csv", csv(), Packing::Plain),
            ("csv:what?.csv?", "what?.csv", csv(), Packing::Plain),
        ] {
            assert_eq!(parsed(text), (path.to_owned(), format, packing), "{text}");
        }
    }

    #[test]
    fn csv_options_are_read() {
        let text = "csv:t.tsv?time=when&time_unit=us&key=k&size=&cost=c&op=o&delimiter=tab";
        let (path, format, _) = parsed(text);
        assert_eq!(path, "t.tsv");
        let expected = CsvOptions {
            time: Some("when".to_owned()),
            time_unit: TimeUnit::Microseconds,
            key: Some("k".to_owned()),
            size: Some(String::new()),
            cost: Some("c".to_owned()),
            op: Some("o".to_owned()),
            delimiter: b'\t',
        };
        assert_eq!(format, Format::Csv(expected));
    }

    #[test]
    fn bad_arguments_say_what_is_allowed() {
        for (text, expected) in [
            ("trace.bin", "cannot tell the format of \"trace.bin\": use a known suffix (.oracl"),
            ("", "cannot tell the format of \"\": use"),
            ("vscsi:x", "cannot tell the format of \"vscsi:x\": use"),
            ("csv:x?keys=a", "csv:x?keys=a: option \"keys=a\" is unknown, there are time, key, si"),
            ("csv:x?key", "csv:x?key: option \"key\" has no value, write NAME=VALUE"),
            ("csv:x?key=", "csv:x?key=: option \"key=\" is empty, but a key is needed"),
            ("csv:x?time_unit=h", "csv:x?time_unit=h: option \"time_unit=h\" is no unit, use s"),
            ("csv:x?delimiter=ab", "csv:x?delimiter=ab: option \"delimiter=ab\" is no delimiter"),
            ("csv:x?delimiter=\"", "csv:x?delimiter=\": option \"delimiter=\\\"\" is no delim"),
            ("zapf(n=1)", "workload \"zapf(n=1)\": \"zapf\" is no generator, there are zipf,"),
        ] {
            let found = text.parse::<TraceSource>().unwrap_err().to_string();
            assert!(found.starts_with(expected), "{text:?}: {found}");
        }
        let unknown = "x".parse::<TraceSource>().unwrap_err().to_string();
        for word in [".zst", "twitter", "shift"] {
            assert!(unknown.contains(word), "{unknown}");
        }
    }

    #[test]
    fn names_leave_out_folders_and_suffixes() {
        for (text, name) in [
            ("/t/arc_p3.oracleGeneral.zst", "arc_p3"),
            ("w92.oracleGeneral.bin", "w92"),
            ("twitter:c52.csv", "c52"),
            ("meta:kv.txt", "kv.txt"),
            ("zipf(n=5)", "zipf(n=5)"),
        ] {
            let source: TraceSource = text.parse().unwrap();
            assert_eq!(source.name(), name);
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn files_are_opened_again_and_again() {
        let mut file = tempfile::Builder::new().suffix(".trc.zst").tempfile().unwrap();
        file.write_all(&pack_zstd(b"3\n4\n3\n")).unwrap();
        let source: TraceSource = file.path().to_str().unwrap().parse().unwrap();
        for _ in 0..2 {
            assert_eq!(keys(&source.load(100).unwrap()), [3, 4, 3]);
        }
        assert_eq!(source.requests(), None);
    }

    #[test]
    fn the_length_is_known_where_that_is_cheap() {
        let mut file = tempfile::Builder::new().suffix(".oracleGeneral").tempfile().unwrap();
        file.write_all(&[0; 24 * 7]).unwrap();
        let source: TraceSource = file.path().to_str().unwrap().parse().unwrap();
        assert_eq!(source.requests(), Some(7));
        assert_eq!("scan(n=5)".parse::<TraceSource>().unwrap().requests(), Some(5));
    }

    #[test]
    fn a_missing_file_or_a_folder_is_an_error_that_names_it() {
        let source: TraceSource = "/nonexistent/a.csv".parse().unwrap();
        let error = source.load(1).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/a.csv: "), "{error}");
        assert!(error.ends_with("check the path"), "{error}");

        let folder = tempfile::Builder::new().suffix(".spc").tempdir().unwrap();
        let source: TraceSource = folder.path().to_str().unwrap().parse().unwrap();
        assert!(matches!(source.load(1), Err(TraceError::Open { .. } | TraceError::Read { .. })));
    }
}
