//! Settings from file, variables and flags, and what is said about wrong ones.

use super::*;
use crate::auth::Role;

fn load_text(
    text: &str,
    variables: &[(&str, &str)],
    flags: Flags,
) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ostler.toml");
    std::fs::write(&path, text).unwrap();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    load(Some(&path), &variable, flags)
}

fn error(text: &str, variables: &[(&str, &str)], flags: Flags) -> String {
    load_text(text, variables, flags).unwrap_err().to_string()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn without_a_word_everything_is_a_default() {
    assert_eq!(load(None, &|_| None, Flags::default()).unwrap(), Settings::default());
    assert_eq!(load_text("", &[], Flags::default()).unwrap(), Settings::default());
}

#[test]
fn the_example_says_the_defaults() {
    assert_eq!(load_text(EXAMPLE, &[], Flags::default()).unwrap(), Settings::default());
    let shown: Vec<&str> = EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.is_empty() && !line.starts_with(' '))
        .collect();
    let settings = load_text(&shown.join("\n"), &[], Flags::default()).unwrap();
    assert_eq!(settings, Settings::default());
    let said = |name: &str| shown.iter().any(|line| line.starts_with(&format!("{name} = ")));
    for name in ["resp", "http", "capacity", "policy", "clients_max", "stop_lead", "drain_timeout"]
    {
        assert!(said(name), "{name}");
    }
    // The examples in words can be taken as they are, but for the files that they name.
    let words: Vec<&str> = EXAMPLE.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    for start in ["[[cache]]", "[[token]]", "[tls]", "data_dir = ", "resp_unix = ", "threads = "] {
        assert!(words.iter().any(|line| line.starts_with(start)), "{start}");
    }
}

#[test]
fn variables_go_over_the_file_and_flags_over_both() {
    let file = "resp = '127.0.0.1:1'\nhttp = '127.0.0.1:2'\n[[cache]]\ncapacity = '3MiB'";
    let variables =
        [("OSTLER_HTTP", "127.0.0.1:20"), ("OSTLER_CAPACITY", "4MiB"), ("OSTLER_RESP", "")];
    let flags = Flags { capacity: text("5MiB"), policy: text("lru"), ..Flags::default() };
    let settings = load_text(file, &variables, flags).unwrap();
    assert_eq!(settings.resp.unwrap().port(), 1, "an empty variable says nothing");
    assert_eq!(settings.http.unwrap().port(), 20);
    let cache = &settings.caches[0];
    assert_eq!((cache.capacity_bytes, cache.policy.as_str()), (5 << 20, "lru"));
}

#[test]
fn a_cache_that_adapts_starts_with_the_first_of_its_portfolio() {
    let adaptive = |file: &str| load_text(file, &[], Flags::default()).unwrap().caches.remove(0);
    let cache =
        adaptive("[[cache]]\n[cache.adaptive]\nportfolio = ['lru', 's3fifo(small_percent=20)']");
    assert_eq!(cache.policy, "lru");
    let settings = cache.adaptive.unwrap();
    assert_eq!((settings.rate, settings.cpu_max), (0.0625, 0.06));
    let cache =
        adaptive("[[cache]]\npolicy = 'sieve'\nadaptive = { objective = 'byte', rate = 1 }");
    assert_eq!(cache.policy, "sieve");
    assert_eq!(cache.adaptive.unwrap().objective, Objective::Byte);
    let cache = adaptive("[[cache]]\nadaptive = { enabled = false }");
    assert_eq!((cache.policy.as_str(), cache.adaptive), ("s3fifo", None));
}

#[test]
fn an_origin_and_what_is_fetched_from_it() {
    let file = "[[cache]]\n[cache.origin]\nurl = 'http://o:9/{key}'\ntimeout = '250ms'\nttl = '1h'\n\
                headers = { Authorization = 'x' }\n\
                [cache.prefetch]\nfetches_per_miss = 0.5\n[cache.warming]\nshare = 0.1";
    let cache = load_text(file, &[], Flags::default()).unwrap().caches.remove(0);
    let origin = cache.origin.unwrap();
    assert_eq!((origin.timeout.as_millis(), origin.ttl.unwrap().as_secs()), (250, 3600));
    assert_eq!(origin.headers, [("authorization".to_owned(), "x".to_owned())]);
    assert_eq!(cache.prefetch.unwrap().policy, "prefetch-stride");
    let warming = cache.warming.unwrap();
    assert_eq!((warming.policy.as_str(), warming.share), ("warm-decayed", 0.1));
    let variables = [
        ("OSTLER_ORIGIN", "http://o:9/{key}"),
        ("OSTLER_PREFETCH", "native:prefetch-assoc"),
        ("OSTLER_WARMING", "warm-diurnal"),
    ];
    let cache = load_text("", &variables, Flags::default()).unwrap().caches.remove(0);
    assert_eq!(cache.prefetch.unwrap().policy, "native:prefetch-assoc");
    assert_eq!(cache.warming.unwrap().policy, "warm-diurnal");
    let off = "[[cache]]\nprefetch = { enabled = false }\nwarming = { enabled = false }";
    let cache = load_text(off, &[], Flags::default()).unwrap().caches.remove(0);
    assert_eq!((cache.origin, cache.prefetch, cache.warming), (None, None, None));
}

#[test]
fn several_caches_share_the_databases() {
    let file = "[[cache]]\nname = 'a'\n[[cache]]\nname = 'b'\ndatabases = [1, 3]";
    let settings = load_text(file, &[], Flags::default()).unwrap();
    assert_eq!(settings.caches[1].databases, [1, 3]);
    assert_eq!(settings.caches[0].databases.len(), 14);
    assert!(!settings.caches[0].databases.contains(&3));
}

#[test]
fn tokens_come_from_texts_files_and_variables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let file = format!(
        "[[token]]\nrole = 'read'\ntoken = 'inline'\n\
         [[token]]\nrole = 'policy'\ntoken_file = '{}'\n\
         [[token]]\nrole = 'admin'\ntoken_env = 'MINE'",
        path.display()
    );
    let variables = [("MINE", "from-variable"), ("OSTLER_TOKEN", "outside")];
    let settings = load_text(&file, &variables, Flags::default()).unwrap();
    let grants: Vec<_> =
        settings.tokens.iter().map(|grant| (grant.token.as_str(), grant.role)).collect();
    let expected = [
        ("inline", Role::Read),
        ("from-file", Role::Policy),
        ("from-variable", Role::Admin),
        ("outside", Role::Admin),
    ];
    assert_eq!(grants, expected);
    let flags = Flags { token_file: Some(path), ..Flags::default() };
    let settings = load_text("", &variables, flags).unwrap();
    assert_eq!(settings.tokens.len(), 1, "the flag goes over the variable");
    assert_eq!(settings.tokens[0].token, "from-file");
}

#[test]
fn what_a_caches_parts_cannot_be_is_named_with_what_would_be_right() {
    let cache = |rest: &str| format!("[[cache]]\nname = 'a'\n{rest}");
    for (file, expected) in [
        (cache("adaptive = { rates = 1 }"), "unknown field `rates`"),
        (
            cache("adaptive = { portfolio = ['lru'] }"),
            "cache `a`: adaptive: portfolio: write 2 to 8 policies; these are 1",
        ),
        (
            cache("adaptive = { portfolio = ['lru', 'sieva'] }"),
            "cache `a`: adaptive: portfolio: there is no `sieva`",
        ),
        (
            cache("adaptive = { portfolio = ['lru', 'lru()'] }"),
            "cache `a`: adaptive: portfolio: `lru()` is given twice",
        ),
        (
            cache("policy = 'arc'\nadaptive = {}"),
            "cache `a`: adaptive: portfolio: `arc`, the cache's policy, is missing; add it",
        ),
        (
            cache("adaptive = { objective = 'fun' }"),
            "cache `a`: adaptive: objective: objective `fun` is not known; use object, byte or cost",
        ),
        (cache("adaptive = { rate = 0 }"), "cache `a`: adaptive: rate: "),
        (cache("adaptive = { rate = 0.0 }"), "cache `a`: adaptive: rate: 0 is no share"),
        (cache("adaptive = { cpu_max = 2.0 }"), "cache `a`: adaptive: cpu_max: 2 is no share"),
        (cache("prefetch = {}"), "cache `a`: prefetch: there is no origin to fetch from"),
        (cache("warming = {}"), "cache `a`: warming: there is no origin to fetch from"),
        (cache("origin = {}"), "cache `a`: origin: url: there is none; write"),
        (cache("origin = { url = 'http://h/' }"), "cache `a`: origin: url: `http://h/` must have"),
        (cache("origin = { url = 'http://h/{key}', timeout = '0' }"), "origin: timeout: a fetch"),
        (
            cache("origin = { url = 'http://h/{key}', headers = { Host = 'x' } }"),
            "origin: headers: `host` is set by the server itself",
        ),
        (
            cache("databases = [1]\norigin = { url = 'http://h/{key}', database = 2 }"),
            "cache `a`: origin: database: database 2 is not one of this cache's",
        ),
        (
            cache("origin = { url = 'http://h/{key}' }\nprefetch = { policy = 'lru' }"),
            "cache `a`: prefetch: policy: there is no `lru` of the kind prefetch; there are",
        ),
        (
            cache("origin = { url = 'http://h/{key}' }\nprefetch = { fetches_per_miss = 0.0 }"),
            "cache `a`: prefetch: fetches_per_miss: write a number above 0",
        ),
        (
            cache("origin = { url = 'http://h/{key}' }\nwarming = { share = 1.5 }"),
            "cache `a`: warming: share: 1.5 is no share",
        ),
    ] {
        let error = error(&file, &[], Flags::default());
        assert!(error.contains(expected), "{file:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_cannot_be_is_named_with_what_would_be_right() {
    let cache = |rest: &str| format!("[[cache]]\nname = 'a'\n{rest}");
    for (file, expected) in [
        ("resp = 'localhost'".to_owned(), "resp: `localhost` is no address: write 127.0.0.1:6379"),
        ("resp = 'off'\nhttp = 'off'".to_owned(), "resp: nothing listens"),
        ("http = '127.0.0.1:6379'".to_owned(), "http: it has the address of resp"),
        (
            "http = '0.0.0.0:80'".to_owned(),
            "http: other machines reach 0.0.0.0:80, and there is no token",
        ),
        ("resp = '[::]:80'".to_owned(), "resp: other machines reach"),
        ("threads = 0".to_owned(), "threads: write a number from 1"),
        ("cache = []".to_owned(), "cache: there is none; write [[cache]]"),
        (cache("capacity = '1KiB'"), "cache `a`: capacity: 1024 bytes are too few; at least 1MiB"),
        (cache("databases = [1, 1]"), "cache `a`: databases: database 1 is given twice"),
        (cache("databases = [16]"), "cache `a`: databases: there is no database 16"),
        (cache("policy = 'lru('"), "cache `a`: policy: policy `lru(`: the parenthesis"),
        (cache("policy = 'sieva'"), "cache `a`: policy: there is no `sieva`; there are arc, clock"),
        (cache("shards = 0"), "cache `a`: shards: "),
        (cache("[[cache]]\nname = 'a'\ndatabases = []"), "cache `a`: name: another cache has it"),
        (cache("[[cache]]\nname = 'b'"), "cache `b`: databases: two caches name none"),
        ("[[cache]]\nname = 'A b'".to_owned(), "cache `A b`: name: a name has 1 to 64"),
        (cache("[[cache]]\ndatabases = []"), "cache: one of several has no name"),
        ("tls = { key = 'k.pem' }".to_owned(), "tls: there is a key, and no certificate"),
        ("tls = { key = '/no/k', certificate = '/no/c' }".to_owned(), "tls: /no/c: "),
        ("[[token]]\nrole = 'read'".to_owned(), "token 1: give exactly one of token, token_file"),
        ("[[token]]\nrole = 'read'\ntoken = ''".to_owned(), "token 1: a token is one or more"),
        (
            "[[token]]\nrole = 'read'\ntoken_env = 'NO'".to_owned(),
            "token 1: the variable NO is not",
        ),
        ("[limits]\nbulk_max = '1GiB'".to_owned(), "limits: bulk_max: write 1024 to 536870912"),
        ("[limits]\nmodule_max = '1MiB'".to_owned(), "limits: module_max: write 1024 to 524288"),
        ("[limits]\nclients_max = 0".to_owned(), "limits: clients_max: write a number from 1"),
    ] {
        let error = error(&file, &[], Flags::default());
        assert!(error.contains(expected), "{file:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let variables = [("MINE", "two words")];
    let token = error("[[token]]\nrole = 'read'\ntoken_env = 'MINE'", &variables, Flags::default());
    assert!(token.starts_with("token 1: MINE: a token is one or more"), "{token}");
    let token = "http = '0.0.0.0:80'\n[[token]]\nrole = 'read'\ntoken = 'x'";
    assert!(load_text(token, &[], Flags::default()).is_ok());
    let uploaded = "data_dir = 'd'\n[[cache]]\npolicy = 'mine'";
    assert!(load_text(uploaded, &[], Flags::default()).is_ok(), "it may have been uploaded");
}

#[test]
fn whoever_asks_hears_of_a_policy_that_nobody_has_uploaded() {
    let data = tempfile::tempdir().unwrap();
    let data_dir = data.path().join("new");
    let check = |policy: &str| {
        let flags =
            Flags { data_dir: Some(data_dir.clone()), policy: text(policy), ..Flags::default() };
        let settings = load_text("", &[], flags).unwrap();
        check_kept(&settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!([check("lru"), check("native:lru")], ["", ""]);
    let expected = "cache `default`: policy: there is no `mine`: it is not built in, nor kept in ";
    assert!(check("mine").starts_with(expected), "{}", check("mine"));
    assert!(!data_dir.exists(), "it only looks");
    std::fs::create_dir(&data_dir).unwrap();
    let list = r#"{"format":1,"policies":{"mine":[]},"seats":{}}"#;
    std::fs::write(data_dir.join("policies.json"), list).unwrap();
    assert_eq!(check("mine"), "");
    assert!(check("yours").starts_with("cache `default`: policy: there is no `yours`"));
}

#[test]
fn files_for_tls_are_read_when_the_settings_are() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = crate::tls::tests::certificate_and_key();
    let other = crate::tls::tests::certificate_and_key().1;
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [("certificate", &certificate), ("key", &key), ("other", &other)] {
        std::fs::write(path(name), text).unwrap();
    }
    let flags = |certificate: &str, key: &str| Flags {
        tls_cert: Some(path(certificate)),
        tls_key: Some(path(key)),
        ..Flags::default()
    };
    assert!(load_text("", &[], flags("certificate", "key")).is_ok());
    for (certificate, key) in [("key", "certificate"), ("certificate", "other"), ("none", "key")] {
        let error = error("", &[], flags(certificate, key));
        assert!(error.starts_with("tls: ") && error.contains(certificate), "{error}");
    }
}

#[test]
fn mistakes_of_variables_and_flags_name_them() {
    let two = "[[cache]]\nname = 'a'\n[[cache]]\nname = 'b'\ndatabases = [1]";
    let flags = || Flags { capacity: text("5MiB"), ..Flags::default() };
    assert!(error(two, &[], flags()).starts_with("--capacity: the settings' file has 2 caches"));
    let bad = Flags { capacity: text("5"), ..Flags::default() };
    assert!(error("", &[], bad).starts_with("--capacity: `5` is no size: write 64KiB"));
    let variables = [("OSTLER_THREADS", "many")];
    assert!(error("", &variables, Flags::default()).starts_with("OSTLER_THREADS: "));
    let half = Flags { tls_cert: Some("c.pem".into()), ..Flags::default() };
    assert!(error("", &[], half).starts_with("tls: there is a certificate, and no key"));
    let variables = [("OSTLER_TOKEN", "a"), ("OSTLER_TOKEN_FILE", "b")];
    assert!(error("", &variables, Flags::default()).starts_with("OSTLER_TOKEN_FILE: a token"));
}
