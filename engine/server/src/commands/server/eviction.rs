//! `maxmemory-policy`: what is evicted, in the words that Redis has for it.
//!
//! `allkeys-NAME` puts a policy of this server in charge as the HTTP API does, with all entries handed
//! over. `noeviction`, `volatile-random` and `volatile-ttl` are done by the server itself. What Redis has
//! beyond that is refused: nothing passes for something else.

use crate::policies::Activation;
use crate::room::{self, Keeper};
use crate::service::Service;
use crate::tallies::SwapReason;

/// What stands before the name of a policy.
const ALL_KEYS: &str = "allkeys-";
/// What the server does itself.
const OWN: [(&str, Keeper); 3] = [
    ("noeviction", Keeper::Nobody),
    ("volatile-random", Keeper::EndingAtRandom),
    ("volatile-ttl", Keeper::EndingSoonest),
];

/// What a value asks for.
enum Wanted<'a> {
    Policy(&'a str),
    Keeper(Keeper),
}

/// What is in force.
pub(super) fn name(service: &Service) -> String {
    let keeper = service.room.keeper();
    match OWN.iter().find(|(_, own)| *own == keeper) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("{ALL_KEYS}{}", in_charge(service).as_deref().unwrap_or("fallback")),
    }
}

/// The policy that was appointed last.
fn in_charge(service: &Service) -> Option<String> {
    service.caches.first()?.cache().seat_status().desired
}

fn wanted<'a>(service: &Service, value: &'a str) -> Result<Wanted<'a>, String> {
    if service.caches.len() > 1 {
        return Err("this server has several caches, each with its own policy".to_owned());
    }
    if let Some((_, keeper)) = OWN.iter().find(|(name, _)| value.eq_ignore_ascii_case(name)) {
        return Ok(Wanted::Keeper(*keeper));
    }
    let head = value.get(..ALL_KEYS.len()).filter(|head| head.eq_ignore_ascii_case(ALL_KEYS));
    let policy = head.map(|head| &value[head.len()..]);
    let is_known = |name: &str| {
        let plain = name.strip_prefix("native:").unwrap_or(name);
        service.policies.get(plain).is_some() || in_charge(service).as_deref() == Some(name)
    };
    policy.filter(|name| is_known(name)).map(Wanted::Policy).ok_or_else(|| {
        let own = OWN.map(|(name, _)| name).join(", ");
        let policies = service.policies.list();
        let names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        format!("this server has {own}, and {ALL_KEYS}NAME with one of {}", names.join(", "))
    })
}

pub(super) fn check(service: &Service, value: &str) -> Result<(), String> {
    wanted(service, value).map(drop)
}

/// Blocks, where the policy changes, until all entries are handed over.
pub(super) fn set(service: &Service, value: &str) -> Result<(), String> {
    match wanted(service, value)? {
        Wanted::Keeper(keeper) => room::set_keeper(service, keeper),
        Wanted::Policy(policy) => {
            if in_charge(service).as_deref() == Some(policy) {
                room::set_keeper(service, service.room.policy_keeper());
            } else {
                let wanted = Activation {
                    policy: policy.to_owned(),
                    version: None,
                    params: serde_json::Map::new(),
                    pardon: false,
                };
                let changed = service.change_policy(0, SwapReason::Request, |keyspace| {
                    service.policies.activate(keyspace, &wanted)
                });
                changed.map_err(|error| error.to_string())?;
                room::set_keeper(service, Keeper::Policy);
            }
        }
    }
    Ok(())
}
