//! What a check found, as text for people and as JSON.

use std::io::Write;

use anyhow::Result;
use ostler_policy::check::Check;
use ostler_wasm::{Outcome, Verdict};
use serde_json::{Value, json};

/// Everything that was found out about a module.
pub(super) struct Findings {
    /// What the module was named as.
    pub(super) source: String,
    /// The steps, the conformance run included where it was run.
    pub(super) verdict: Verdict,
    /// The scenarios of the conformance run.
    pub(super) scenarios: Vec<Check>,
    /// What the policy takes; none where there was nothing to run.
    pub(super) memory: Option<Memory>,
}

/// What the policy says it takes and what it was seen to take.
pub(super) struct Memory {
    pub(super) bytes_per_slot: u32,
    pub(super) base_bytes: u64,
    /// How many slots, accesses or candidates it was used with.
    pub(super) count: u32,
    /// Which of them.
    pub(super) unit: &'static str,
    /// Bytes allowed for them.
    pub(super) limit: u64,
    /// Bytes of an instance that has them filled, or the fault on the way.
    pub(super) measured: Result<u64, String>,
}

impl Findings {
    /// A line a step, a line a scenario, and the verdict as the last line.
    pub(super) fn write_table(&self, out: &mut dyn Write) -> Result<()> {
        let verdict = &self.verdict;
        if let Some((name, version)) = &verdict.policy {
            writeln!(out, "policy       {name} {version}")?;
        }
        writeln!(out, "module       {}: {} bytes, {}", self.source, verdict.bytes, verdict.id)?;
        if let Some(memory) = &self.memory {
            writeln!(out, "memory       {}", memory.text())?;
        }
        writeln!(out)?;
        for step in &verdict.steps {
            writeln!(out, "{}", line((&step.name, 12), step.outcome, &step.detail))?;
        }
        for Check { name, outcome } in &self.scenarios {
            let (outcome, detail) = match outcome {
                Ok(()) => (Outcome::Passed, ""),
                Err(detail) => (Outcome::Failed, detail.as_str()),
            };
            writeln!(out, "  {}", line((name, 44), outcome, detail))?;
        }
        writeln!(out)?;
        for warning in &verdict.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        match verdict.failure() {
            None => writeln!(out, "admitted")?,
            Some(step) => writeln!(out, "refused: {}: {}", step.name, step.detail)?,
        }
        Ok(())
    }

    /// One object, on one line: the host's verdict with what the check adds.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> Result<()> {
        let mut verdict = serde_json::to_value(&self.verdict)?;
        let scenario = |check: &Check| {
            let detail = check.outcome.as_ref().err();
            json!({"name": check.name, "passed": check.outcome.is_ok(), "detail": detail})
        };
        verdict["admitted"] = json!(self.verdict.admitted());
        verdict["scenarios"] = self.scenarios.iter().map(scenario).collect();
        verdict["memory"] = self.memory.as_ref().map_or(Value::Null, Memory::json);
        writeln!(out, "{verdict}")?;
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        let Memory { bytes_per_slot, base_bytes, count, unit, limit, .. } = self;
        let declared = match *unit {
            "slots" => format!("{bytes_per_slot} bytes a slot and {base_bytes} declared"),
            _ => format!("{base_bytes} bytes declared"),
        };
        match &self.measured {
            Ok(bytes) => format!("{declared}, {bytes} taken at {count} {unit}, {limit} allowed"),
            Err(fault) => format!("{declared}, not measured at {count} {unit}: {fault}"),
        }
    }

    fn json(&self) -> Value {
        json!({
            "bytes_per_slot": self.bytes_per_slot,
            "base_bytes": self.base_bytes,
            self.unit: self.count,
            "measured_bytes": self.measured.as_ref().ok(),
            "limit_bytes": self.limit,
        })
    }
}

/// `name  ok  detail`, in columns; the name's column is as wide as it says.
fn line((name, width): (&str, usize), outcome: Outcome, detail: &str) -> String {
    let outcome = match outcome {
        Outcome::Passed => "ok",
        Outcome::Failed => "failed",
        Outcome::NotRun => "not run",
    };
    format!("{name:<width$} {outcome:<7} {detail}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_in_columns() {
        assert_eq!(line(("parse", 12), Outcome::Passed, ""), "parse        ok");
        assert_eq!(
            line(("limits", 12), Outcome::Failed, "too large"),
            "limits       failed  too large"
        );
        assert_eq!(line(("conformance", 12), Outcome::NotRun, ""), "conformance  not run");
    }

    #[test]
    fn memory_is_told_in_full() {
        let mut memory = Memory {
            bytes_per_slot: 13,
            base_bytes: 65_536,
            count: 10_000,
            unit: "slots",
            limit: 262_144,
            measured: Ok(196_608),
        };
        let expected =
            "13 bytes a slot and 65536 declared, 196608 taken at 10000 slots, 262144 allowed";
        assert_eq!(memory.text(), expected);
        memory.unit = "accesses";
        let expected = "65536 bytes declared, 196608 taken at 10000 accesses, 262144 allowed";
        assert_eq!(memory.text(), expected);
        memory.unit = "slots";
        memory.measured = Err("trap: unreachable".into());
        assert!(memory.text().ends_with("not measured at 10000 slots: trap: unreachable"));
        assert_eq!(memory.json()["measured_bytes"], Value::Null);
    }
}
