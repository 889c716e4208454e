//! A client of a server's HTTP API: address, token, TLS, and problem documents as one line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Where a server is where nobody says.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7379";
/// Longest time for a call: a change of policy hands all entries over.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// What stays as it is in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Which server, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server's HTTP API; OSTLER_SERVER says it as well [default: http://127.0.0.1:7379].
    #[arg(long = "server", value_name = "URL")]
    url: Option<String>,
    /// A file with the token; OSTLER_TOKEN holds one as well.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates of the authority that signed the server's, PEM, where it is a private one.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A client of one server.
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

impl Client {
    /// A client; nothing is sent yet.
    pub(super) fn try_new(server: &Server) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let url = server.url.clone().or_else(|| variable("OSTLER_SERVER"));
        let url = url.unwrap_or_else(|| SERVER_DEFAULT.to_owned());
        let token = match &server.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                Some(text.trim().to_owned())
            }
            None => variable("OSTLER_TOKEN"),
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(CALL_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("ostler/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &server.ca_file {
            let pem = std::fs::read(path);
            let pem = pem.with_context(|| format!("cannot read {}", path.display()))?;
            let roots = RootCerts::from(certificates(&pem));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: url.trim_end_matches('/').to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
        })
    }

    /// `GET`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.get(self.at(path));
        self.read(self.authorize(request).call())
    }

    /// `PUT` of a module.
    pub(super) fn put<T: DeserializeOwned>(&self, path: &str, module: &[u8]) -> Result<T> {
        let request = self.agent.put(self.at(path)).content_type("application/wasm");
        self.read(self.authorize(request).send(module))
    }

    /// `POST` of JSON, or of nothing.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: Option<&Value>) -> Result<T> {
        let request = self.authorize(self.agent.post(self.at(path)));
        match body {
            Some(body) => {
                self.read(request.content_type("application/json").send(body.to_string()))
            }
            None => self.read(request.send_empty()),
        }
    }

    /// `DELETE`.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let request = self.agent.delete(self.at(path));
        self.answer(self.authorize(request).call()).map(drop)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn authorize<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<T> {
        let text = self.answer(sent)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} answers as no Ostler server does", self.url))
    }

    /// The text of an answer that is a success.
    fn answer(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<String> {
        let mut response = sent.map_err(|error| {
            anyhow!(
                "cannot reach {}: {error}; is `ostler serve` running there? (--server)",
                self.url
            )
        })?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = body.with_context(|| format!("the answer of {} breaks off", self.url))?;
        if status.is_success() {
            return Ok(text);
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = ["detail", "title"].iter().find_map(|member| problem[*member].as_str());
        let said = said.map_or_else(|| format!("{} answers {status}", self.url), str::to_owned);
        match (status.as_u16(), &self.authorization) {
            (401, None) => {
                bail!("{} wants a token; give it with OSTLER_TOKEN or --token-file", self.url)
            }
            (401, Some(_)) => bail!("{} does not know the token: {said}", self.url),
            _ => bail!("{}", said.replace('\n', " ")),
        }
    }
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificates = items.filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}
