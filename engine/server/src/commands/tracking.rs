//! `CLIENT TRACKING`, `CACHING`, `GETREDIR`, `TRACKINGINFO`.

use std::sync::Arc;

use crate::clients::Client;
use crate::commands::parse::{NO_KEYS, NOT_AN_INTEGER, SYNTAX, integer, is};
use crate::commands::{Call, Command, Flag, Flow};
use crate::tracking::{Mode, Options};

const SWITCHES_BROADCAST: &str = "ERR You can't switch BCAST mode on/off before disabling tracking \
    for this client, and then re-enabling it with a different mode.";
const SWITCHES_OPTION: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for \
    this client, and then re-enabling it with a different mode.";

/// Prefixes that one client can have.
const PREFIXES_MAX: usize = 1_000;
const TOO_MANY_PREFIXES: &str = "ERR too many prefixes for a single client";
const REDIRECT_REFUSED: &str =
    "NOPERM this user has no permissions to redirect to a client that may do more than itself";

/// The options of `CLIENT TRACKING` as they were written.
#[derive(Default)]
struct Written<'a> {
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    redirect: Option<Arc<Client>>,
    prefixes: Vec<&'a [u8]>,
}

fn written<'a>(call: &Call<'a, '_>) -> Result<Written<'a>, &'static str> {
    let mut written = Written::default();
    // It runs alone: what is far too long is not even read.
    if call.words.len() > 2 * PREFIXES_MAX + 16 {
        return Err(TOO_MANY_PREFIXES);
    }
    let mut words = call.words[3..].iter();
    while let Some(&word) = words.next() {
        if is(word, "redirect") {
            let id = words.next().ok_or(SYNTAX)?;
            if written.redirect.is_some() {
                return Err("ERR A client can only redirect to a single other client");
            }
            let id = integer(id).ok_or(NOT_AN_INTEGER)?;
            let to = u64::try_from(id).ok().and_then(|id| call.service.clients.get(id));
            let to = to.ok_or("ERR The client ID you want redirect to does not exist")?;
            // What it is told is messages, and those to clients that may do more are theirs to ask for.
            if to.profile.lock().role > call.session.role {
                return Err(REDIRECT_REFUSED);
            }
            written.redirect = Some(to);
        } else if is(word, "prefix") {
            written.prefixes.push(words.next().ok_or(SYNTAX)?);
        } else if is(word, "bcast") {
            written.broadcast = true;
        } else if is(word, "optin") {
            written.opt_in = true;
        } else if is(word, "optout") {
            written.opt_out = true;
        } else if is(word, "noloop") {
            written.no_loop = true;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(written)
}

/// Two prefixes that overlap: the place of the first one as they were written, that of the other one
/// where it was not known before, and both.
type Overlap<'a> = (usize, Option<usize>, &'a [u8], &'a [u8]);

impl Written<'_> {
    /// The options, if they fit each other and those of `before`.
    fn options(&self, before: Option<Options>) -> Result<Options, &'static str> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err("ERR PREFIX option requires BCAST mode to be enabled");
        }
        let before = before.map(|options| options.mode);
        if before.is_some_and(|mode| (mode == Mode::Broadcast) != self.broadcast) {
            return Err(SWITCHES_BROADCAST);
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        let switches_in = self.opt_in && before == Some(Mode::OptOut);
        let switches_out = self.opt_out && before == Some(Mode::OptIn);
        if switches_in || switches_out {
            return Err(SWITCHES_OPTION);
        }
        let mode = match (self.broadcast, self.opt_in, self.opt_out) {
            (true, _, _) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (_, _, true) => Mode::OptOut,
            _ => Mode::Reads,
        };
        Ok(Options { mode, no_loop: self.no_loop })
    }

    /// Why its prefixes cannot be taken beside those `known`.
    fn collision(&self, known: &[Box<[u8]>]) -> Option<String> {
        let text = |prefix: &[u8], what: &str, other: &[u8]| {
            format!(
                "ERR Prefix '{}' overlaps with {what} prefix '{}'. Prefixes for a single client \
                 must not overlap.",
                String::from_utf8_lossy(prefix),
                String::from_utf8_lossy(other)
            )
        };
        // In order, whatever starts with a prefix follows it, and nothing else comes in between. Each
        // has its place among those provided, none for one that was known.
        let provided = self.prefixes.iter().enumerate();
        let mut all: Vec<(&[u8], Option<usize>)> =
            provided.map(|(place, prefix)| (*prefix, Some(place))).collect();
        all.extend(known.iter().map(|prefix| (&**prefix, None)));
        all.sort_unstable();
        // The first one as they were written is what is told of.
        let mut first: Option<Overlap<'_>> = None;
        let mut open: Vec<(&[u8], Option<usize>)> = Vec::new();
        for one in all {
            while open.pop_if(|other| !one.0.starts_with(other.0)).is_some() {}
            let found = open.last().and_then(|&other| match (one, other) {
                ((prefix, Some(place)), (known, None)) | ((known, None), (prefix, Some(place))) => {
                    Some((place, None, prefix, known))
                }
                ((one, Some(place)), (other, Some(before))) if before < place => {
                    Some((before, Some(place), other, one))
                }
                ((one, Some(place)), (other, Some(before))) => {
                    Some((place, Some(before), one, other))
                }
                ((_, None), (_, None)) => None,
            });
            first = first.into_iter().chain(found).min();
            open.push(one);
        }
        let (_, place, prefix, other) = first?;
        let what = if place.is_some() { "another provided" } else { "an existing" };
        Some(text(prefix, what, other))
    }
}

fn tracking(call: &mut Call<'_, '_>) -> Flow {
    let written = match written(call) {
        Ok(written) => written,
        Err(text) => return call.error(text),
    };
    let (service, id) = (call.service, call.session.client.id);
    if is(call.words[2], "off") {
        service.tracking.stop(id, &mut call.session.following);
    } else if is(call.words[2], "on") {
        let following = &mut call.session.following;
        let options = match written.options(following.options()) {
            Ok(options) => options,
            Err(text) => return call.error(text),
        };
        if following.prefixes().len() + written.prefixes.len() > PREFIXES_MAX {
            return call.error(TOO_MANY_PREFIXES);
        }
        if let Some(text) = written.collision(following.prefixes()) {
            return call.error(&text);
        }
        if options.mode == Mode::Broadcast && written.prefixes.is_empty() {
            service.tracking.add_prefix(b"", following);
        }
        for prefix in &written.prefixes {
            service.tracking.add_prefix(prefix, following);
        }
        let redirect = written.redirect.as_ref();
        service.tracking.start(&call.session.client, options, redirect, following);
    } else {
        return call.error(SYNTAX);
    }
    let mut profile = call.session.client.profile.lock();
    profile.tracking = call.session.following.options().is_some();
    profile.broadcasts =
        call.session.following.options().is_some_and(|options| options.mode == Mode::Broadcast);
    profile.redirect = call.session.following.redirect();
    drop(profile);
    call.reply.ok();
    Flow::Continue
}

fn caching(call: &mut Call<'_, '_>) -> Flow {
    let mode = match call.session.following.options().map(|options| options.mode) {
        Some(mode) => mode,
        None => {
            return call.error(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with \
                 OPTIN or OPTOUT mode enabled",
            );
        }
    };
    let refusal = match call.words[2] {
        word if is(word, "yes") => (mode != Mode::OptIn).then_some(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ),
        word if is(word, "no") => (mode != Mode::OptOut).then_some(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ),
        _ => Some(SYNTAX),
    };
    if let Some(text) = refusal {
        return call.error(text);
    }
    call.session.following.cue();
    call.reply.ok();
    Flow::Continue
}

fn getredir(call: &mut Call<'_, '_>) -> Flow {
    let redirect = call.session.following.redirect().map_or(-1, |id| id as i64);
    call.reply.integer(redirect);
    Flow::Continue
}

fn trackinginfo(call: &mut Call<'_, '_>) -> Flow {
    let following = &call.session.following;
    let options = following.options();
    let mut flags: Vec<&str> = vec![if options.is_some() { "on" } else { "off" }];
    match options.map(|options| options.mode) {
        Some(Mode::Broadcast) => flags.push("bcast"),
        Some(Mode::OptIn) => flags.push("optin"),
        Some(Mode::OptOut) => flags.push("optout"),
        Some(Mode::Reads) | None => {}
    }
    if following.is_cued() {
        let is_in = options.is_some_and(|options| options.mode == Mode::OptIn);
        flags.push(if is_in { "caching-yes" } else { "caching-no" });
    }
    if options.is_some_and(|options| options.no_loop) {
        flags.push("noloop");
    }
    if following.is_redirect_broken() {
        flags.push("broken_redirect");
    }
    call.reply.map(3);
    call.reply.bulk(b"flags");
    call.reply.set(flags.len());
    for flag in flags {
        call.reply.bulk(flag.as_bytes());
    }
    call.reply.bulk(b"redirect");
    call.reply.integer(following.redirect().map_or(-1, |id| id as i64));
    call.reply.bulk(b"prefixes");
    call.reply.array(following.prefixes().len());
    for prefix in following.prefixes() {
        call.reply.bulk(prefix);
    }
    Flow::Continue
}

const fn row(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command::new(name, arity, &[], NO_KEYS, run).about("connection", "6.0.0", summary)
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        // Alone, so that no write is under way that looked before anybody tracked.
        flags: &[Flag::Alone],
        ..row("client|tracking", -3, "Turns the tracking of read keys on or off.", tracking)
    },
    row("client|caching", 3, "Says whether the next command's keys are tracked.", caching),
    row("client|getredir", 2, "Returns which client gets the invalidations.", getredir),
    Command {
        since: "6.2.0",
        ..row("client|trackinginfo", 2, "Returns how this connection tracks keys.", trackinginfo)
    },
];
