//! The grammar of workload specs, and the checks on their parameters.
//!
//! Two steps: text to a tree of calls, then calls to phases. Depth, phases and every parameter are
//! bounded, so a spec from anywhere may be parsed.

use super::{GENERATORS, Pattern, Phase, SizeRule};

/// Longest spec, bytes.
const SPEC_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of calls.
const DEPTH_MAX: usize = 8;
/// Most phases, repeats counted.
const PHASES_MAX: usize = 4096;
/// Most requests of a phase, and most keys of a loop.
const REQUESTS_MAX: u64 = 1_000_000_000_000;
/// Most keys of a zipf phase; its table takes 8 bytes each.
const ZIPF_KEYS_MAX: u64 = 1 << 24;
/// Most days of a diurnal phase.
const DAYS_MAX: u64 = 3650;
/// Largest first object number.
const START_MAX: u64 = 1 << 62;

/// What is wrong with which part of a spec.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SpecFault<'a> {
    pub(super) part: &'a str,
    pub(super) reason: String,
}

fn fault<'a, T>(part: &'a str, reason: impl Into<String>) -> Result<T, SpecFault<'a>> {
    Err(SpecFault { part, reason: reason.into() })
}

/// The phases that a spec stands for, at least one.
pub(super) fn parse(text: &str) -> Result<Vec<Phase>, SpecFault<'_>> {
    if text.len() > SPEC_BYTES_MAX {
        return fault(text, format!("is longer than {SPEC_BYTES_MAX} bytes"));
    }
    let mut cursor = Cursor { rest: text };
    let call = cursor.call(0)?;
    if !cursor.rest.trim().is_empty() {
        return fault(cursor.rest.trim(), "follows the spec, which ends before it");
    }
    let mut phases = Vec::new();
    build(&call, SizeRule::Constant(1), &mut phases)?;
    Ok(phases)
}

/// `NAME(item, …)`.
struct Call<'a> {
    name: &'a str,
    values: Vec<(&'a str, &'a str)>,
    calls: Vec<Call<'a>>,
}

/// What is left to parse.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn call(&mut self, depth: usize) -> Result<Call<'a>, SpecFault<'a>> {
        let name = self.word();
        if !self.take('(') {
            return fault(name, format!("needs parentheses, as in {name}()"));
        }
        if depth >= DEPTH_MAX {
            return fault(name, format!("is nested more than {DEPTH_MAX} deep"));
        }
        let mut call = Call { name, values: Vec::new(), calls: Vec::new() };
        loop {
            if self.take(')') {
                return Ok(call);
            }
            self.item(&mut call, depth)?;
            if !self.take(',') && !self.take(';') && !self.rest.starts_with(')') {
                return fault(self.rest, "should be a comma, a semicolon or a closing parenthesis");
            }
        }
    }

    /// `NAME=VALUE` or a nested call.
    fn item(&mut self, call: &mut Call<'a>, depth: usize) -> Result<(), SpecFault<'a>> {
        let before = self.rest;
        let name = self.word();
        if name.is_empty() {
            return fault(before, "should be a parameter NAME=VALUE or a phase NAME(…)");
        }
        if self.take('=') {
            let value = self.until(&[',', ';', ')', '(']);
            call.values.push((name, value));
            return Ok(());
        }
        self.rest = before;
        call.calls.push(self.call(depth + 1)?);
        Ok(())
    }

    /// Letters, digits and underscores, and the blanks around them.
    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let len = self.rest.find(|letter| !is_word(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest.trim_start();
        word
    }

    fn until(&mut self, ends: &[char]) -> &'a str {
        let len = self.rest.find(ends).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(len);
        self.rest = rest;
        value.trim()
    }

    /// Whether the next letter is `letter`; if so it is taken, with the blanks after it.
    fn take(&mut self, letter: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(letter) else { return false };
        self.rest = rest.trim_start();
        true
    }
}

/// Appends the phases of `call`, whose objects have `size` unless it says otherwise.
fn build<'a>(
    call: &Call<'a>,
    size: SizeRule,
    phases: &mut Vec<Phase>,
) -> Result<(), SpecFault<'a>> {
    let known: &[&str] = match call.name {
        "zipf" => &["n", "alpha", "keys", "seed", "start", "size"],
        "scan" => &["n", "start", "size"],
        "loop" => &["n", "keys", "start", "size"],
        "diurnal" => &["n", "alpha", "keys", "seed", "days", "start", "size"],
        "shift" => &["repeat", "size"],
        name => return fault(name, format!("is no generator, there are {GENERATORS}")),
    };
    check_names(call, known)?;
    let size = match value(call, "size") {
        Some(text) => size_rule(text)?,
        None => size,
    };
    if call.name == "shift" {
        return build_shift(call, size, phases);
    }
    if let Some(inner) = call.calls.first() {
        return fault(inner.name, format!("stands in {}, but only shift has phases", call.name));
    }
    let requests = whole(call, "n", (1_000_000, 1, REQUESTS_MAX))?;
    let start = whole(call, "start", (0, 0, START_MAX))?;
    let pattern = match call.name {
        "zipf" => Pattern::Zipf {
            alpha: alpha(call, 1.0)?,
            keys: whole(call, "keys", (100_000, 1, ZIPF_KEYS_MAX))?,
            seed: whole(call, "seed", (1, 0, u64::MAX))?,
        },
        "loop" => Pattern::Loop { keys: whole(call, "keys", (100_000, 1, REQUESTS_MAX))? },
        "diurnal" => Pattern::Diurnal {
            alpha: alpha(call, 0.8)?,
            keys: whole(call, "keys", (50_000, 1, ZIPF_KEYS_MAX))?,
            seed: whole(call, "seed", (1, 0, u64::MAX))?,
            days: whole(call, "days", (7, 1, DAYS_MAX))?,
        },
        _ => Pattern::Scan,
    };
    phases.push(Phase { pattern, requests, start, size });
    Ok(())
}

fn build_shift<'a>(
    call: &Call<'a>,
    size: SizeRule,
    phases: &mut Vec<Phase>,
) -> Result<(), SpecFault<'a>> {
    if call.calls.is_empty() {
        return fault(call.name, "has no phases, as in shift(zipf();scan())");
    }
    let repeat = whole(call, "repeat", (1, 1, PHASES_MAX as u64))?;
    for _ in 0..repeat {
        for inner in &call.calls {
            build(inner, size, phases)?;
            if phases.len() > PHASES_MAX {
                return fault(call.name, format!("has more than {PHASES_MAX} phases"));
            }
        }
    }
    Ok(())
}

fn check_names<'a>(call: &Call<'a>, known: &[&str]) -> Result<(), SpecFault<'a>> {
    for (index, (name, _)) in call.values.iter().enumerate() {
        if !known.contains(name) {
            let known = known.join(", ");
            return fault(name, format!("is unknown in {}, there are {known}", call.name));
        }
        if call.values[..index].iter().any(|(earlier, _)| earlier == name) {
            return fault(name, format!("is given twice in {}", call.name));
        }
    }
    Ok(())
}

fn value<'a>(call: &Call<'a>, name: &str) -> Option<&'a str> {
    call.values.iter().find(|(given, _)| *given == name).map(|&(_, value)| value)
}

/// The whole number `name`, given as (default, least, most).
fn whole<'a>(call: &Call<'a>, name: &str, range: (u64, u64, u64)) -> Result<u64, SpecFault<'a>> {
    let (default, min, max) = range;
    let Some(text) = value(call, name) else { return Ok(default) };
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) && !text.starts_with('+') => Ok(number),
        _ => fault(text, format!("is no {name}, use a whole number from {min} to {max}")),
    }
}

fn alpha<'a>(call: &Call<'a>, default: f64) -> Result<f64, SpecFault<'a>> {
    let Some(text) = value(call, "alpha") else { return Ok(default) };
    match text.parse::<f64>() {
        Ok(number) if (0.0..=10.0).contains(&number) => Ok(number),
        _ => fault(text, "is no alpha, use a number from 0 to 10"),
    }
}

fn size_rule(text: &str) -> Result<SizeRule, SpecFault<'_>> {
    let bytes = |text: &str| text.trim().parse::<u32>().ok().filter(|&bytes| bytes > 0);
    let rule = match text.split_once("..") {
        None => bytes(text).map(SizeRule::Constant),
        Some((min, max)) => bytes(min)
            .zip(bytes(max))
            .filter(|(min, max)| min <= max)
            .map(|(min, max)| SizeRule::LogUniform { min, max }),
    };
    match rule {
        Some(rule) => Ok(rule),
        None => fault(text, "is no size, use bytes or lo..hi, from 1 to 4294967295"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_specs_name_the_part_and_what_is_allowed() {
        for (text, part, reason) in [
            ("zipf", "zipf", "needs parentheses"),
            ("", "", "needs parentheses"),
            ("zipf(", "", "should be a parameter NAME=VALUE or a phase"),
            ("zipf(n=1", "", "should be a comma, a semicolon or a closing parenthesis"),
            ("zipf(n=1))", ")", "follows the spec"),
            ("zipf(n=1) x", "x", "follows the spec"),
            ("zapf()", "zapf", "is no generator, there are zipf, scan, loop, diurnal, shift"),
            ("zipf(m=1)", "m", "is unknown in zipf, there are n, alpha, keys, seed, start, size"),
            ("scan(keys=1)", "keys", "is unknown in scan, there are n, start, size"),
            ("zipf(n=1,n=2)", "n", "is given twice in zipf"),
            ("zipf(n=0)", "0", "is no n, use a whole number from 1 to 1000000000000"),
            ("zipf(n=+5)", "+5", "is no n"),
            ("zipf(n=)", "", "is no n"),
            ("zipf(keys=16777217)", "16777217", "is no keys, use a whole number from 1 to 16777"),
            ("zipf(alpha=-1)", "-1", "is no alpha, use a number from 0 to 10"),
            ("zipf(alpha=NaN)", "NaN", "is no alpha"),
            ("scan(start=4611686018427387905)", "4611686018427387905", "is no start"),
            ("scan(size=0)", "0", "is no size, use bytes or lo..hi"),
            ("scan(size=9..8)", "9..8", "is no size"),
            ("scan(size=1..4294967296)", "1..4294967296", "is no size"),
            ("scan(scan())", "scan", "stands in scan, but only shift has phases"),
            ("shift()", "shift", "has no phases"),
            ("shift(n=5)", "n", "is unknown in shift, there are repeat, size"),
            ("shift(repeat=4097;scan())", "4097", "is no repeat, use a whole number from 1 to 40"),
            ("shift(scan() scan())", "scan())", "should be a comma"),
            ("shift(5)", "5", "needs parentheses"),
            ("shift(repeat=2;shift(repeat=4000;scan()))", "shift", "has more than 4096 phases"),
        ] {
            let found = parse(text).unwrap_err();
            assert_eq!(found.part, part, "{text}: {}", found.reason);
            assert!(found.reason.starts_with(reason), "{text}: {}", found.reason);
        }
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        let nested =
            |depth: usize| format!("{}scan(){}", "shift(".repeat(depth), ")".repeat(depth));
        assert_eq!(parse(&nested(DEPTH_MAX - 1)).unwrap().len(), 1);
        assert!(parse(&nested(DEPTH_MAX)).is_err());
        assert!(parse(&nested(5_000)).unwrap_err().reason.contains("deep"));
        assert!(parse(&" ".repeat(SPEC_BYTES_MAX + 1)).is_err());
        let repeats = "shift(repeat=4096;".repeat(7) + "scan()" + &")".repeat(7);
        assert!(parse(&repeats).unwrap_err().reason.contains("more than 4096 phases"));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn arbitrary_specs_parse_within_bounds_or_name_a_part(
            text in "[a-z(),;= 0-9.]{0,40}|(zipf|scan|loop|shift|n|keys|repeat|size|[(),;=]|[0-9]|é){0,24}",
        ) {
            match parse(&text) {
                Ok(phases) => prop_assert!((1..=PHASES_MAX).contains(&phases.len())),
                Err(fault) => prop_assert!(text.contains(fault.part)),
            }
        }
    }
}
