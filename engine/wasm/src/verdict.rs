//! The verdict: every step of an admission, what came of it and why. Shown to the policy's author.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::module::ModuleId;

/// The steps of an admission, in order. The last is run by the caller, who has a workload for it.
pub const STEPS: [&str; 8] =
    ["parse", "manifest", "imports", "exports", "limits", "features", "compile", "conformance"];

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The module satisfies it.
    Passed,
    /// The module was refused here.
    Failed,
    /// An earlier step failed, so this one was not run.
    NotRun,
}

/// One step and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictStep {
    /// Name of the step, one of [`STEPS`].
    pub name: Cow<'static, str>,
    /// What came of it.
    pub outcome: Outcome,
    /// What was measured, or why it failed; may be empty.
    pub detail: String,
}

/// What an admission found out about a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Identity of the module: the SHA-256 of its bytes.
    pub id: ModuleId,
    /// Size of the module.
    pub bytes: usize,
    /// Name and version from the manifest, once that was read.
    pub policy: Option<(String, String)>,
    /// The steps in order; a caller's conformance run is pushed after the others.
    pub steps: Vec<VerdictStep>,
    /// Things that are allowed and yet likely a mistake.
    pub warnings: Vec<String>,
}

impl Verdict {
    pub(crate) fn new(module: &[u8]) -> Self {
        Self {
            id: ModuleId::of(module),
            bytes: module.len(),
            policy: None,
            steps: Vec::with_capacity(STEPS.len()),
            warnings: Vec::new(),
        }
    }

    /// True where no step has failed.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.failure().is_none()
    }

    /// The step that failed.
    #[must_use]
    pub fn failure(&self) -> Option<&VerdictStep> {
        self.steps.iter().find(|step| step.outcome == Outcome::Failed)
    }

    /// Adds a step, such as the conformance run of the caller.
    pub fn push(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        outcome: Outcome,
        detail: impl Into<String>,
    ) {
        self.steps.push(VerdictStep { name: name.into(), outcome, detail: detail.into() });
    }
}
