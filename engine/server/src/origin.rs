//! The origin of a cache's entries: an HTTP server that is asked for a value by its key.
//!
//! One `GET` a key: 200 brings the value, 404 and 410 say that there is none, everything else is a
//! failure. Connections, time and bytes are bounded. It must not know caches, policies or why
//! something is fetched.

pub(crate) mod template;

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use self::template::Template;
use crate::settings::OriginSettings;

/// Longest silence after which an idle connection is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Most bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why a fetch brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// The origin has no such entry.
    #[error("there is no such entry")]
    Absent,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It answered with another status.
    #[error("it answers with the status {0}")]
    Status(u16),
    /// The value is larger than the settings allow.
    #[error("the value has more than {0} bytes")]
    TooLarge(usize),
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Broken(String),
}

impl FetchError {
    /// The reason as metrics name it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::TooLarge(_) => "too_large",
            Self::Broken(_) => "broken",
        }
    }
}

/// An origin that can be asked.
pub(crate) struct Origin {
    client: Client<HttpConnector, Empty<Bytes>>,
    template: Template,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    body_bytes_max: usize,
    /// One for each connection that there may be.
    places: Semaphore,
}

impl Origin {
    /// The origin of these settings. To be used on one runtime, the one that is entered here.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub(crate) fn try_new(settings: &OriginSettings) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(settings.connections_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        let headers = settings.headers.iter().map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?;
            Ok((name, value))
        });
        Ok(Self {
            client,
            template: Template::try_new(&settings.url)?,
            headers: headers.collect::<Result<_, String>>()?,
            timeout: settings.timeout,
            body_bytes_max: settings.body_bytes_max,
            places: Semaphore::new(settings.connections_max),
        })
    }

    /// The value of `key`. The time counts from here, a wait for a connection included.
    pub(crate) async fn fetch(&self, key: &[u8]) -> Result<Bytes, FetchError> {
        match tokio::time::timeout(self.timeout, self.ask(key)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout(self.timeout)),
        }
    }

    async fn ask(&self, key: &[u8]) -> Result<Bytes, FetchError> {
        let broken = |error: &dyn std::error::Error| FetchError::Broken(chain(error));
        let _place = self.places.acquire().await.map_err(|error| broken(&error))?;
        let uri = Uri::try_from(self.template.address(key)).map_err(|error| broken(&error))?;
        let mut request = Request::get(uri);
        if let Some(headers) = request.headers_mut() {
            headers.insert(header::USER_AGENT, HeaderValue::from_static("ostler"));
            for (name, value) in &self.headers {
                headers.append(name, value.clone());
            }
        }
        let request = request.body(Empty::new()).map_err(|error| broken(&error))?;
        let answer = self.client.request(request).await.map_err(|error| broken(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::Absent),
            other => return Err(FetchError::Status(other.as_u16())),
        }
        let body = Limited::new(answer.into_body(), self.body_bytes_max).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| {
            match error.is::<LengthLimitError>() {
                true => FetchError::TooLarge(self.body_bytes_max),
                false => FetchError::Broken(chain(&*error)),
            }
        })
    }
}

/// An error and what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
