//! Who may send what: tokens, roles, origins; and what strangers to the table of routes are told.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;

use super::Api;
use super::problem::{Kind, Problem};
use super::routes::Route;
use crate::auth::Role;

/// Which route a request took; put into the response's extensions for those who count.
#[derive(Clone, Copy)]
pub(crate) struct Taken(pub(crate) usize);

/// The caller was let through to a route that strangers are not; put into the response's extensions
/// for those who must choose between the two.
#[derive(Clone, Copy)]
pub(crate) struct Known;

/// Stands before one route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) api: Arc<Api>,
    pub(crate) route: usize,
}

/// Lets a request through whose token has the route's role.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Route { path, role, .. } = guard.api.routes[guard.route];
    tracing::Span::current().record("route", path);
    let allowed = match role {
        Some(role) => allow(&guard.api, role, request.method(), request.headers()),
        None => Ok(()),
    };
    let is_allowed = allowed.is_ok();
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if role.is_some() && is_allowed {
        response.extensions_mut().insert(Known);
    }
    response.extensions_mut().insert(Taken(guard.route));
    response
}

/// Lets a request through that no route fits, if its token may read: others learn nothing.
pub(crate) async fn guard_stranger(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    match allow(&api, Role::Read, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Answers where the path has other methods.
pub(crate) async fn wrong_method(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
) -> Response {
    let here = api.routes.iter().filter(|route| fits(route.path, uri.path()));
    let mut methods: Vec<_> = here.map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    let allow = methods.join(", ");
    let detail = format!("{method} is not for this path; it has {allow}");
    let problem = Problem::new(Kind::MethodNotAllowed, detail);
    match HeaderValue::from_str(&allow) {
        Ok(allow) => problem.header(header::ALLOW, allow).into_response(),
        Err(_) => problem.into_response(),
    }
}

/// Answers where there is nothing.
pub(crate) async fn unknown_path() -> Problem {
    Problem::new(Kind::UnknownPath, "see /openapi.json for what there is")
}

/// Refuses what a page of another origin made a browser send: such requests carry the user's rights,
/// not the page's. Pages may read nothing either, since no answer allows another origin.
///
/// A page can also let its own name lead here, and is of the same origin then. Its requests bear that
/// name and no token, so that where none is needed only names are heard that nobody else can give out.
pub(crate) async fn refuse_foreign_origin(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if api.service.grants.is_open() && !is_local(&request) {
        let detail = "without tokens the header Host must be an IP address or localhost: any page \
                      can let another name lead here; use an address, or give the server a token";
        return Problem::new(Kind::ForeignOrigin, detail).into_response();
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match headers.get(header::ORIGIN) {
        Some(origin) if !reads && !is_own(origin, headers) => {
            let detail = "the header Origin names another server than the header Host";
            Problem::new(Kind::ForeignOrigin, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// True where every name that a request gives the server is an address or `localhost`. Browsers always
/// give one.
fn is_local(request: &Request) -> bool {
    let hosts = request.headers().get_all(header::HOST).into_iter();
    let mut hosts = hosts.map(|host| host.to_str().unwrap_or_default());
    let in_line = request.uri().authority();
    let in_line = in_line.is_none_or(|authority| is_local_host(authority.as_str()));
    in_line && hosts.all(is_local_host)
}

/// True for `localhost` and IP addresses, with a port or without.
fn is_local_host(host: &str) -> bool {
    let is_name = |host: &str| host.eq_ignore_ascii_case("localhost");
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let is_port = port.parse::<u16>().is_ok();
    let in_brackets = |host: &str| {
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok())
    };
    in_brackets(host)
        || is_port && (is_name(name) || in_brackets(name) || name.parse::<Ipv4Addr>().is_ok())
}

fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.is_some_and(|(_, authority)| host == Some(authority))
}

/// True where `path` fits the route's template.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// Checks that the caller has at least `role`.
fn allow(api: &Api, role: Role, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let grants = &api.service.grants;
    if grants.is_open() {
        return Ok(());
    }
    let given = headers.get(header::AUTHORIZATION);
    let token = given.and_then(|given| token_of(given, method));
    match token.and_then(|token| grants.role_of(&token)) {
        Some(has) if has >= role => Ok(()),
        Some(has) => {
            let detail = format!("this needs a token with the role {}", name(role));
            let challenge = "Bearer realm=\"ostler\", error=\"insufficient_scope\"";
            Err(Problem::new(Kind::RoleTooSmall, detail)
                .with("role", name(has))
                .with("role_needed", name(role))
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
        }
        None => Err(refusal(given.is_some())),
    }
}

fn refusal(given: bool) -> Problem {
    let (detail, challenge) = if given {
        ("nobody knows this token", "Bearer realm=\"ostler\", error=\"invalid_token\"")
    } else {
        ("send the header Authorization: Bearer TOKEN", "Bearer realm=\"ostler\"")
    };
    Problem::new(Kind::Unauthorized, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ostler\""))
}

/// The token of an `Authorization` header: after `Bearer`, or the password after `Basic`, so that a
/// browser can show the dashboard. Browsers send the latter unasked, so it is good for reading only.
fn token_of(given: &HeaderValue, method: &Method) -> Option<Vec<u8>> {
    let (scheme, rest) = given.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !scheme.eq_ignore_ascii_case("basic") || !reads {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// A role as the settings write it.
pub(crate) const fn name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Policy => "policy",
        Role::Admin => "admin",
    }
}
