//! Prometheus' text form, version 0.0.4: families of rows with labels. It must not know what is counted.

use std::fmt::Write;

use crate::histogram::{BOUNDS_NS, Counted};

/// A page of metrics.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

/// The rows of one metric.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

/// A label: name and value.
pub(crate) type Label<'a> = (&'a str, &'a str);

impl Page {
    /// A metric that goes up and down.
    pub(crate) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "gauge")
    }

    /// A metric that only goes up.
    pub(crate) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "counter")
    }

    /// A histogram.
    pub(crate) fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "histogram")
    }

    /// The page's text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Family<'a> {
        let text = &mut self.text;
        for part in ["# HELP ", name, " ", help, ".\n# TYPE ", name, " ", kind, "\n"] {
            text.push_str(part);
        }
        Family { text, name }
    }
}

impl Family<'_> {
    /// One row.
    pub(crate) fn row(&mut self, labels: &[Label<'_>], value: impl std::fmt::Display) {
        self.start("", labels, None);
        self.end(value);
    }

    /// The rows of one histogram.
    pub(crate) fn counted(&mut self, labels: &[Label<'_>], counted: &Counted) {
        let mut sum = 0;
        for (index, count) in counted.buckets.iter().enumerate() {
            sum += count;
            let bound = match BOUNDS_NS.get(index) {
                Some(&bound) => (bound as f64 / 1e9).to_string(),
                None => "+Inf".to_owned(),
            };
            self.start("_bucket", labels, Some(("le", &bound)));
            self.end(sum);
        }
        self.start("_sum", labels, None);
        self.end(counted.sum_ns as f64 / 1e9);
        self.start("_count", labels, None);
        self.end(sum);
    }

    fn start(&mut self, suffix: &str, labels: &[Label<'_>], last: Option<Label<'_>>) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            self.text.push(separator);
            separator = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if separator == ',' {
            self.text.push('}');
        }
    }

    fn end(&mut self, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use std::time::Duration;

    #[test]
    fn rows_read_as_prometheus_writes_them() {
        let mut page = Page::default();
        page.gauge("up", "It is").row(&[], 1);
        let mut gets = page.counter("gets_total", "Requests");
        gets.row(&[("cache", "a\"b\\c\nd"), ("result", "hit")], 7);
        let text = "# HELP up It is.\n# TYPE up gauge\nup 1\n\
            # HELP gets_total Requests.\n# TYPE gets_total counter\n\
            gets_total{cache=\"a\\\"b\\\\c\\nd\",result=\"hit\"} 7\n";
        assert_eq!(page.finish(), text);
    }

    #[test]
    fn buckets_add_up() {
        let histogram = Histogram::default();
        for us in [1, 2, 2, 20_000_000] {
            histogram.note(Duration::from_micros(us));
        }
        let mut page = Page::default();
        page.histogram("d_seconds", "Time").counted(&[("route", "/")], &histogram.counted());
        let text = page.finish();
        for row in [
            "d_seconds_bucket{route=\"/\",le=\"0.000001\"} 1",
            "d_seconds_bucket{route=\"/\",le=\"0.0000025\"} 3",
            "d_seconds_bucket{route=\"/\",le=\"10\"} 3",
            "d_seconds_bucket{route=\"/\",le=\"+Inf\"} 4",
            "d_seconds_sum{route=\"/\"} 20.000005",
            "d_seconds_count{route=\"/\"} 4",
        ] {
            assert!(text.lines().any(|line| line == row), "{row} in {text}");
        }
    }
}
