//! What a policy is for.

/// What a policy is for: the one word in `kinds` of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyKind {
    /// It chooses what a full cache gives up. One instance a shard, without keys.
    Eviction,
    /// It asks for keys before they are requested. One instance a cache, off the path.
    Prefetch,
    /// It ranks what a cold cache shall fetch first. One instance a cache, off the path.
    Warming,
}

impl PolicyKind {
    /// Every kind of version 1.
    pub const ALL: [PolicyKind; 3] =
        [PolicyKind::Eviction, PolicyKind::Prefetch, PolicyKind::Warming];

    /// The kind with this name, or none where the name is not of this version.
    #[must_use]
    pub fn from_name(name: &str) -> Option<PolicyKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name that manifests and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PolicyKind::Eviction => "eviction",
            PolicyKind::Prefetch => "prefetch",
            PolicyKind::Warming => "warming",
        }
    }

    /// The function that a policy of this kind is called through.
    #[must_use]
    pub const fn call(self) -> &'static str {
        match self {
            PolicyKind::Eviction => crate::export::STEP,
            PolicyKind::Prefetch => crate::export::PREDICT,
            PolicyKind::Warming => crate::export::RANK,
        }
    }
}
