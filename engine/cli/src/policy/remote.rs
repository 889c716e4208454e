//! `ostler policy push`, `list`, `activate`, `rollback` and `rm`: a server's policies, over its HTTP
//! API. Each is one call; the server decides.

mod client;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::module;
use crate::usage;
use client::{Client, Server, segment};

/// Arguments of `ostler policy push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The module.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Its name on the server; without it the name in its manifest.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `ostler policy list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: Server,
}

/// Arguments of `ostler policy activate`.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Activate {
    /// The cache.
    cache: String,
    /// An uploaded policy, a built-in one, or native:NAME.
    policy: String,
    /// The version; without it the newest.
    #[arg(long, value_name = "sha256:…")]
    version: Option<String>,
    /// Parameters as JSON, such as '{"small_percent": 20}'.
    #[arg(long, value_name = "JSON", value_parser = params)]
    params: Option<Map<String, Value>>,
    /// Trust it again where its faults put it into quarantine.
    #[arg(long)]
    pardon: bool,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `ostler policy rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The cache.
    cache: String,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `ostler policy rm`.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Rm {
    /// The policy.
    name: String,
    /// Only this version.
    #[arg(long, value_name = "sha256:…")]
    version: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// What of an answer is shown.
#[derive(Deserialize)]
struct Uploaded {
    id: String,
    outcome: String,
}

#[derive(Deserialize)]
struct Policies {
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    name: String,
    origin: String,
    versions: Vec<Version>,
    used_by: Vec<Use>,
}

#[derive(Deserialize)]
struct Version {
    id: String,
    bytes: u64,
    manifest_version: String,
}

#[derive(Deserialize)]
struct Use {
    cache: String,
    version: Option<String>,
    role: String,
}

#[derive(Deserialize)]
struct Activated {
    policy: String,
    adopted: u64,
    shards: u64,
    not_kept: Option<String>,
}

fn params(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// Uploads.
pub(crate) fn push(args: &Push, out: &mut dyn Write) -> Result<()> {
    let bytes = std::fs::read(&args.file)
        .with_context(|| format!("cannot read the module {}", args.file.display()))?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let manifest = module::manifest(&bytes);
            let manifest = manifest.with_context(|| args.file.display().to_string())?;
            manifest.name().to_owned()
        }
    };
    if name.is_empty() {
        return Err(usage("--name is empty"));
    }
    let client = Client::try_new(&args.server)?;
    let answer: Uploaded = client.put(&format!("/v1/policies/{}", segment(&name)), &bytes)?;
    let known = if answer.outcome == "known" { ", which it had already" } else { "" };
    writeln!(out, "{name} is {}{known}", answer.id)?;
    Ok(())
}

/// Shows a line for each version.
pub(crate) fn list(args: &List, out: &mut dyn Write) -> Result<()> {
    let Policies { policies } = Client::try_new(&args.server)?.get("/v1/policies")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["policy", "version", "module", "bytes", "from", "used by"]);
    for policy in &policies {
        for (index, version) in policy.versions.iter().enumerate() {
            // A use that names no version means a built-in policy, which has one.
            let uses = policy
                .used_by
                .iter()
                .filter(|it| it.version.as_ref().map_or(index == 0, |used| *used == version.id));
            let uses: Vec<String> = uses.map(Use::text).collect();
            table.add_row([
                policy.name.as_str(),
                &version.manifest_version,
                &version.id,
                &version.bytes.to_string(),
                if policy.origin == "built_in" { "built in" } else { "uploaded" },
                &uses.join(", "),
            ]);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

impl Use {
    fn text(&self) -> String {
        match self.role.as_str() {
            "in_charge" => self.cache.clone(),
            _ => format!("{} (for a rollback)", self.cache),
        }
    }
}

/// Changes the policy in charge.
pub(crate) fn activate(args: Activate, out: &mut dyn Write) -> Result<()> {
    let mut wanted = json!({"policy": args.policy});
    if let Some(version) = args.version {
        wanted["version"] = version.into();
    }
    if let Some(params) = args.params {
        wanted["params"] = params.into();
    }
    if args.pardon {
        wanted["pardon"] = true.into();
    }
    let path = format!("/v1/caches/{}/policy", segment(&args.cache));
    let answer = Client::try_new(&args.server)?.post(&path, Some(&wanted))?;
    report(&args.cache, &answer, out)
}

/// Goes back to the policy before.
pub(crate) fn rollback(args: &Rollback, out: &mut dyn Write) -> Result<()> {
    let path = format!("/v1/caches/{}/rollback", segment(&args.cache));
    let answer = Client::try_new(&args.server)?.post(&path, None)?;
    report(&args.cache, &answer, out)
}

fn report(cache: &str, answer: &Activated, out: &mut dyn Write) -> Result<()> {
    let Activated { policy, adopted, shards, not_kept } = answer;
    writeln!(
        out,
        "{policy} is in charge of {cache}: {adopted} entries handed over in {shards} shards"
    )?;
    if let Some(reason) = not_kept {
        writeln!(out, "warning: the next start will not know of it: {reason}")?;
    }
    Ok(())
}

/// Removes.
pub(crate) fn rm(args: &Rm, out: &mut dyn Write) -> Result<()> {
    let mut path = format!("/v1/policies/{}", segment(&args.name));
    if let Some(version) = &args.version {
        path.push_str(&format!("?version={}", segment(version)));
    }
    Client::try_new(&args.server)?.delete(&path)?;
    match &args.version {
        Some(version) => writeln!(out, "{} {version} is gone", args.name)?,
        None => writeln!(out, "{} is gone", args.name)?,
    }
    Ok(())
}
