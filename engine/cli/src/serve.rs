//! `ostler serve`: starts a server, says where it is, and stops it when the system asks.
//!
//! It owns flags, logs and signals. What a server is made of stands in `ostler-server`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use ostler_server::server::Server;
use ostler_server::settings::{self, Flags, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{ALLOCATOR, EXIT_DONE, EXIT_FAILED, usage};

/// Serve caches to the clients of Redis, and policies, metrics and entries over HTTP.
///
/// Every flag can be a variable as well, OSTLER_RESP for --resp and so on, or stand in the settings'
/// file; a flag goes over a variable, a variable over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The settings' file, TOML; engine/server/ostler.toml shows every setting.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients of Redis connect [default: 127.0.0.1:6379].
    #[arg(long, value_name = "ADDRESS|off")]
    resp: Option<String>,
    /// A Unix socket for them.
    #[arg(long, value_name = "PATH")]
    resp_unix: Option<PathBuf>,
    /// Where the HTTP API listens [default: 127.0.0.1:7379].
    #[arg(long, value_name = "ADDRESS|off")]
    http: Option<String>,
    /// Bytes of the cache [default: 256MiB].
    #[arg(long, value_name = "SIZE")]
    capacity: Option<String>,
    /// The policy in charge at the start: NAME, native:NAME or FILE.wasm, with (key=value,…) for
    /// parameters [default: s3fifo].
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Where the cache's entries come from: http://HOST:PORT/PATH/{key}.
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// The policy that says what to fetch from the origin before it is asked for, such as
    /// prefetch-stride.
    #[arg(long, value_name = "POLICY")]
    prefetch: Option<String>,
    /// The policy that says what to fetch from the origin after a restart, such as warm-decayed.
    #[arg(long, value_name = "POLICY")]
    warming: Option<String>,
    /// Where uploaded policies are kept; without it they are forgotten at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads that serve the clients of Redis [default: one a core but one, at most 8].
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// A file with a token that may do everything; needed to listen elsewhere than on this machine.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate chain for TLS, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How logs are written to the error stream [default: text].
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,ostler=debug
    /// [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Say whether the settings are right, and start nothing.
    #[arg(long)]
    check_config: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// A line an event, for people.
    Text,
    /// An object an event.
    Json,
}

/// Serves until the system asks to stop. The status is 1 where it had to ask twice.
pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<u8> {
    // What is not Unicode is no setting, and is named as well as it can be.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    run_in(args, std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(), out)
}

/// Does so with the variables of `environment`, and no others.
fn run_in(args: Args, environment: BTreeMap<String, String>, out: &mut dyn Write) -> Result<u8> {
    let variable = |name: &str| environment.get(name).cloned();
    let check_config = args.check_config;
    let log = (args.log_format, args.log_level.clone());
    let path = args.config.clone().or_else(|| variable("OSTLER_CONFIG").map(PathBuf::from));
    let settings = load(args, &variable)?;
    let names = environment.keys().cloned();
    let unknown = settings::unknown_variables(path.as_deref(), names).map_err(usage)?;
    if check_config {
        for name in &unknown {
            writeln!(out, "{name}: there is no such variable; it says nothing")?;
        }
        // No reason not to start: whoever checks before each start would be kept from serving.
        if let Err(missing) = settings::check_kept(&settings) {
            writeln!(out, "{missing}; a server starts with another policy in its place")?;
        }
        writeln!(out, "the settings are right: {}", summary(&settings))?;
        return Ok(EXIT_DONE);
    }
    start_log(log, &variable)?;
    for variable in unknown {
        tracing::warn!(variable, "there is no such variable; it says nothing");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no event loop for signals")?;
    let mut asked = {
        let _inside = runtime.enter();
        // Before anything is started, so that a stop is heard whenever it comes.
        Asked::try_new().context("signals cannot be heard")?
    };
    let is_tls = settings.tls.is_some();
    let server = Server::start(settings)?;
    say_where(&server, is_tls, out)?;
    // Nobody waits for it where the server was not started by systemd.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    runtime.block_on(asked.wait());
    tracing::info!("stopping: clients get their replies");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let status = runtime.block_on(async {
        let stopped = tokio::task::spawn_blocking(move || server.stop());
        tokio::select! {
            _ = stopped => EXIT_DONE,
            () = asked.wait() => EXIT_FAILED,
        }
    });
    runtime.shutdown_background();
    Ok(status)
}

fn load(args: Args, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
    let path = args.config.or_else(|| variable("OSTLER_CONFIG").map(PathBuf::from));
    let flags = Flags {
        resp: args.resp,
        resp_unix: args.resp_unix,
        http: args.http,
        capacity: args.capacity,
        policy: args.policy,
        origin: args.origin,
        prefetch: args.prefetch,
        warming: args.warming,
        data_dir: args.data_dir,
        threads: args.threads,
        token: None,
        token_file: args.token_file,
        tls_cert: args.tls_cert,
        tls_key: args.tls_key,
    };
    let settings = settings::load(path.as_deref(), variable, flags).map_err(usage)?;
    let allocator = ALLOCATOR.get().copied().unwrap_or(settings.allocator);
    Ok(Settings { allocator, ..settings })
}

fn summary(settings: &Settings) -> String {
    let caches = settings.caches.iter().map(|cache| {
        format!("cache {} of {} bytes under {}", cache.name, cache.capacity_bytes, cache.policy)
    });
    let caches: Vec<String> = caches.collect();
    let tokens = match settings.tokens.len() {
        0 => "no token".to_owned(),
        1 => "1 token".to_owned(),
        count => format!("{count} tokens"),
    };
    format!("{}; {tokens}", caches.join(", "))
}

/// Three lines: where RESP, the HTTP API and the metrics are.
fn say_where(server: &Server, is_tls: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let (redis, http) = if is_tls { ("rediss", "https") } else { ("redis", "http") };
    let tcp = server.resp_address().map(|address| format!("{redis}://{address}"));
    let unix = server.resp_unix().map(|path| format!("unix://{}", path.display()));
    let resp: Vec<String> = tcp.into_iter().chain(unix).collect();
    let resp = if resp.is_empty() { "off".to_owned() } else { resp.join(" and ") };
    let api = server.http_address().map(|address| format!("{http}://{address}"));
    let metrics = api.as_ref().map(|api| format!("{api}/metrics"));
    writeln!(out, "RESP     {resp}")?;
    writeln!(out, "HTTP     {}", api.as_deref().unwrap_or("off"))?;
    writeln!(out, "metrics  {}", metrics.as_deref().unwrap_or("off"))?;
    out.flush()
}

fn start_log(
    (format, level): (Option<LogFormat>, Option<String>),
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<()> {
    let format = match (format, variable("OSTLER_LOG_FORMAT").as_deref()) {
        (Some(format), _) => format,
        (None, Some("json")) => LogFormat::Json,
        (None, None | Some("" | "text")) => LogFormat::Text,
        (None, Some(other)) => {
            return Err(usage(format!("OSTLER_LOG_FORMAT: `{other}` is neither text nor json")));
        }
    };
    let level = level.or_else(|| variable("OSTLER_LOG_LEVEL")).unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(&level)
        .map_err(|error| usage(format!("--log-level: `{level}`: {error}; write info or debug")))?;
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    // A second server in one process, as in tests, writes to the log of the first.
    let _ = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// The signals that ask a server to stop.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    fn try_new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns at the next one.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::*;
    use crate::EXIT_USAGE;

    /// Runs `ostler serve --check-config ARGS` with no variable set.
    fn check(args: &[&str]) -> (u8, String) {
        check_in(&[], args)
    }

    /// The status and what was said, on either stream, whatever the variables of this process are.
    fn check_in(environment: &[(&str, &str)], args: &[&str]) -> (u8, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["ostler", "serve", "--check-config"].iter().chain(args).map(OsString::from);
        let crate::Command::Serve(args) = crate::Cli::try_parse_from(args).unwrap().command else {
            panic!("another command");
        };
        let owned = |text: &str| text.to_owned();
        let environment = environment.iter().map(|(name, value)| (owned(name), owned(value)));
        let outcome = run_in(*args, environment.collect(), &mut out);
        let status = crate::conclude(outcome, &mut err);
        (status, String::from_utf8([out, err].concat()).unwrap())
    }

    #[test]
    fn variables_are_settings_or_are_named() {
        let environment = [
            ("OSTLER_CAPACITY", "1MiB"),
            ("OSTLER_REQUIRE_CLIENTS", "1"),
            ("OSTLER_POLICY", "lru"),
            ("PATH", "/bin"),
        ];
        let expected = "OSTLER_REQUIRE_CLIENTS: there is no such variable; it says nothing\n\
             the settings are right: cache default of 1048576 bytes under lru; no token\n";
        assert_eq!(check_in(&environment, &[]), (EXIT_DONE, expected.to_owned()));
        let (status, said) = check_in(&[("OSTLER_CAPACTIY", "1MiB")], &[]);
        assert_eq!(status, EXIT_USAGE);
        assert!(said.ends_with("there is no such variable; did you mean OSTLER_CAPACITY?\n"));
    }

    #[test]
    fn settings_are_checked_without_a_server() {
        let (status, said) = check(&["--capacity", "64MiB", "--policy", "lru"]);
        assert_eq!(status, EXIT_DONE);
        let expected =
            "the settings are right: cache default of 67108864 bytes under lru; no token\n";
        assert_eq!(said, expected);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ostler.toml");
        std::fs::write(&file, settings::EXAMPLE).unwrap();
        assert_eq!(check(&["--config", file.to_str().unwrap()]).0, EXIT_DONE);
        std::fs::write(&file, "[[cache]]\nsize = 3").unwrap();
        let (status, said) = check(&["--config", file.to_str().unwrap()]);
        assert_eq!((status, said.lines().count()), (EXIT_USAGE, 1));
        assert!(said.contains("ostler.toml:2: unknown field `size`"), "{said}");
    }

    #[test]
    fn a_policy_that_nobody_has_uploaded_is_told_and_keeps_nobody_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = ["--data-dir", dir.path().to_str().unwrap(), "--policy"];
        let (status, said) = check(&[&data_dir[..], &["mine"]].concat());
        assert_eq!((status, said.lines().count()), (EXIT_DONE, 2), "{said}");
        assert!(said.starts_with("cache `default`: policy: there is no `mine`: "), "{said}");
        assert!(
            said.contains("; a server starts with another policy in its place\nthe settings are")
        );
        let (status, said) = check(&[&data_dir[..], &["lru"]].concat());
        assert_eq!((status, said.lines().count()), (EXIT_DONE, 1), "{said}");
    }

    #[test]
    fn a_flag_that_cannot_be_is_named() {
        for (args, expected) in [
            (["--resp", "0.0.0.0:6379"], "resp: other machines reach 0.0.0.0:6379"),
            (["--capacity", "lots"], "--capacity: `lots` is no size"),
            (["--tls-cert", "c.pem"], "tls: there is a certificate, and no key"),
            (["--token-file", "/nowhere/token"], "token_file /nowhere/token: "),
        ] {
            let (status, said) = check(&args);
            assert_eq!((status, said.lines().count()), (EXIT_USAGE, 1), "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }
}
