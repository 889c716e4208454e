//! Requests of the API, counted by route.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::text::Page;
use crate::histogram::Histogram;
use crate::http::routes::Route;

/// Counts and times of all routes.
pub(crate) struct Requests {
    /// One for each route, and a last one for what fits none.
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    durations: Histogram,
    by_status: Mutex<BTreeMap<u16, u64>>,
}

impl Requests {
    /// For so many routes.
    pub(crate) fn new(routes: usize) -> Self {
        Self { rows: (0..=routes).map(|_| Row::default()).collect() }
    }

    /// Counts one request.
    pub(crate) fn note(&self, route: Option<usize>, status: u16, elapsed: Duration) {
        let last = self.rows.len() - 1;
        let row = &self.rows[route.map_or(last, |route| route.min(last))];
        row.durations.note(elapsed);
        *row.by_status.lock().entry(status).or_default() += 1;
    }

    /// Writes them, those of routes that nobody took left out.
    pub(crate) fn write(&self, page: &mut Page, routes: &[Route]) {
        let names = routes.iter().map(|route| (route.method.as_str(), route.path));
        let names: Vec<_> = names.chain([("other", "other")]).collect();
        let mut requests = page.counter("ostler_http_requests_total", "Requests of the HTTP API");
        for (row, (method, route)) in self.rows.iter().zip(&names) {
            for (status, count) in &*row.by_status.lock() {
                let status = status.to_string();
                let labels = [("method", *method), ("route", *route), ("status", &status)];
                requests.row(&labels, count);
            }
        }
        let help = "How long requests of the HTTP API took";
        let mut durations = page.histogram("ostler_http_request_duration_seconds", help);
        for (row, (method, route)) in self.rows.iter().zip(&names) {
            if !row.by_status.lock().is_empty() {
                let labels = [("method", *method), ("route", *route)];
                durations.counted(&labels, &row.durations.counted());
            }
        }
    }
}
