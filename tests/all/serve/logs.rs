//! What a server writes down: operators ship logs to where keys and values, which hold what people do,
//! must not go.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use super::serve;

/// Stands in every key and value below.
const PRIVATE: &str = "ada-lovelace";

#[test]
fn no_log_line_names_a_key_or_a_value() {
    let server = serve(&["--log-level", "trace", "--log-format", "json"]);
    let path = format!("/v1/caches/default/entries/{PRIVATE}");
    for (method, expected) in [("PUT", 201), ("GET", 200), ("DELETE", 204), ("GET", 404)] {
        assert_eq!(server.ask(method, &path, PRIVATE.as_bytes()).status, expected);
    }
    for path in [
        format!("/v1/caches/{PRIVATE}/entries/{PRIVATE}"),
        format!("/v1/caches/default/entries/{PRIVATE}?database={PRIVATE}"),
        format!("/{PRIVATE}?{PRIVATE}"),
    ] {
        assert!(server.ask("GET", &path, b"").status >= 400, "{path}");
    }
    let keys = format!(r#"{{"keys":["{PRIVATE}"]}}"#);
    assert_eq!(server.ask("POST", "/v1/caches/default/invalidate", keys.as_bytes()).status, 200);

    let mut stream = server.connect();
    let commands =
        ["SET {} {}", "GET {}", "INCR {}", "WATCH {}", "MULTI", "SET {}", "EXEC", "NONE {}"];
    for command in commands {
        let command = format!("{command}\r\n").replace("{}", PRIVATE);
        stream.write_all(command.as_bytes()).expect("it takes a command");
    }
    // The parser gives up here, and the server hangs up.
    stream.write_all(format!("*1\r\n{PRIVATE}\r\n").as_bytes()).expect("it takes bytes");
    let _ = stream.shutdown(Shutdown::Write);
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("replies");
    assert!(replies.contains(PRIVATE) && replies.contains("-EXECABORT"), "{replies}");

    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains(PRIVATE), "{log}");
    let answered = r#""route":"/v1/caches/{cache}/entries/{key}""#;
    assert!(log.contains(answered) && log.contains("stopping"), "the log is there: {log}");
}
