//! Which variables of the environment are settings, and which only look like one.

use std::cell::RefCell;

use super::{Flags, SettingsError};

/// What the names of all variables of this program start with.
const PREFIX: &str = "OSTLER_";
/// Variables that the program reads beside those of [`Flags`].
const OF_PROGRAM: [&str; 4] =
    ["OSTLER_CONFIG", "OSTLER_LOG_FORMAT", "OSTLER_LOG_LEVEL", "OSTLER_SERVER"];
/// Letters of a name, without its prefix, of which one may be wrong.
const LETTERS_PER_MISTAKE: usize = 4;

/// Those of `names` that look like a setting and are none, nor among `tokens`.
pub(super) fn unknown(
    names: impl IntoIterator<Item = String>,
    tokens: &[String],
) -> Result<Vec<String>, SettingsError> {
    let known = known();
    let mut unknown = Vec::new();
    for name in names {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if known.contains(&name) || tokens.contains(&name) {
            continue;
        }
        let mistakes_max = rest.len().div_ceil(LETTERS_PER_MISTAKE);
        let near = known.iter().map(|known| (mistakes(known.as_bytes(), name.as_bytes()), known));
        if let Some((_, meant)) = near.min().filter(|(mistakes, _)| *mistakes <= mistakes_max) {
            let reason = format!("there is no such variable; did you mean {meant}?");
            return Err(SettingsError::Setting { setting: name, reason });
        }
        unknown.push(name);
    }
    unknown.sort_unstable();
    Ok(unknown)
}

/// Every variable that the program reads.
fn known() -> Vec<String> {
    let asked = RefCell::new(OF_PROGRAM.map(str::to_owned).to_vec());
    let _ = Flags::from_environment(&|name| {
        asked.borrow_mut().push(name.to_owned());
        None
    });
    asked.into_inner()
}

/// Letters to insert, to leave out, to replace or to swap with their neighbour until both are the same.
fn mistakes(left: &[u8], right: &[u8]) -> usize {
    // Rows of the table of all beginnings of both: two rows back, the last one, this one.
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &letter) in left.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut least = replaced.min(last[column + 1] + 1).min(this[column] + 1);
            let is_swapped =
                row > 0 && column > 0 && letter == right[column - 1] && left[row - 1] == other;
            if is_swapped {
                let both: &Vec<usize> = &before;
                least = least.min(both[column - 1] + 1);
            }
            this.push(least);
        }
        before = std::mem::replace(&mut last, this);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("RESP", "RESP", 0),
            ("RESP", "REPS", 1),
            ("RESP", "RSP", 1),
            ("RESP", "RRESP", 1),
            ("CAPACITY", "CAPASITY", 1),
            ("HTTP", "PORT", 4),
            ("DATA_DIR", "DATADIR", 1),
        ] {
            assert_eq!(mistakes(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
            assert_eq!(mistakes(right.as_bytes(), left.as_bytes()), expected, "{right} {left}");
        }
    }

    #[test]
    fn misspelt_variables_are_refused_with_the_nearest_name() {
        let said = |name: &str| match unknown([name.to_owned()], &["OSTLER_READERS".to_owned()]) {
            Ok(unknown) => unknown.join(" "),
            Err(error) => error.to_string(),
        };
        let meant = |name: &str, meant: &str| {
            let expected = format!("{name}: there is no such variable; did you mean {meant}?");
            assert_eq!(said(name), expected);
        };
        meant("OSTLER_CAPACTIY", "OSTLER_CAPACITY");
        meant("OSTLER_DATADIR", "OSTLER_DATA_DIR");
        meant("OSTLER_TOKENFILE", "OSTLER_TOKEN_FILE");
        meant("OSTLER_REPS", "OSTLER_RESP");
        meant("OSTLER_LOG_LEVL", "OSTLER_LOG_LEVEL");
        for name in known() {
            assert_eq!(said(&name), "");
        }
        for name in ["OSTLER_READERS", "PATH", "ostler_resp", "XOSTLER_RESP"] {
            assert_eq!(said(name), "");
        }
        // What Kubernetes makes for services, and what our own tests are told by.
        for name in [
            "OSTLER_PORT",
            "OSTLER_PORT_6379_TCP",
            "OSTLER_SERVICE_HOST",
            "OSTLER_HTTP_PORT",
            "OSTLER_RESP_SERVICE_PORT",
            "OSTLER_REQUIRE_CLIENTS",
            "OSTLER_MODULES_DIR",
        ] {
            assert_eq!(said(name), name);
        }
    }
}
