//! Drawing: scales, ticks and shapes as inline SVG. It knows no policy and no trace.
//!
//! Colours are classes and custom properties of the page, so that one drawing serves light and dark.

use std::fmt::Write as _;

/// Text as it may stand in HTML and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// The first `chars` characters, with an ellipsis where there were more.
pub(crate) fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// From values to places on one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    values: (f64, f64),
    places: (f64, f64),
    is_logarithmic: bool,
}

impl Scale {
    /// Even steps. A range without width gets some.
    pub(crate) fn linear(values: (f64, f64), places: (f64, f64)) -> Self {
        let (low, high) = values;
        let values = if high > low { values } else { (low - 1.0, high + 1.0) };
        Self { values, places, is_logarithmic: false }
    }

    /// Even factors, of positive values.
    pub(crate) fn logarithmic(values: (f64, f64), places: (f64, f64)) -> Self {
        let (low, high) = (values.0.max(1.0), values.1.max(1.0));
        let high = if high > low { high } else { low * 2.0 };
        Self { values: (low.log10(), high.log10()), places, is_logarithmic: true }
    }

    /// Where a value is.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if self.is_logarithmic { value.max(1.0).log10() } else { value };
        let part = (value - self.values.0) / (self.values.1 - self.values.0);
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    /// Round values in the range, about `count` of them.
    pub(crate) fn ticks(&self, count: u32) -> Vec<f64> {
        let (low, high) = self.values;
        if self.is_logarithmic {
            #[expect(clippy::cast_possible_truncation, reason = "logarithms of 64-bit numbers")]
            let decades = low.floor() as i32..=high.ceil() as i32;
            let steps: &[f64] = if high - low < 1.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let values =
                decades.flat_map(|decade| steps.iter().map(move |it| it * 10f64.powi(decade)));
            return values.filter(|it| (low..=high).contains(&it.log10())).collect();
        }
        let rough = (high - low) / f64::from(count.max(1));
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * decade);
        let step = step.into_iter().find(|&it| it >= rough).unwrap_or(rough);
        let first = (low / step).ceil() * step;
        let values = (0..=2 * count + 2).map(|index| first + f64::from(index) * step);
        // Zero should read 0, not 1e-17.
        let clean = values.map(|it| if it.abs() < step * 1e-9 { 0.0 } else { it });
        clean.take_while(|&it| it <= high + step * 1e-9).collect()
    }
}

/// A drawing under way.
pub(crate) struct Svg {
    text: String,
}

/// How a text stands at its place.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty drawing of that size, with a description for those who cannot see it.
    pub(crate) fn new(width: f64, height: f64, description: &str) -> Self {
        let description = escaped(description);
        let text = format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{description}\">\n"
        );
        Self { text }
    }

    /// A line of a class.
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A filled rectangle between two corners, of which the first is above and left.
    pub(crate) fn area(
        &mut self,
        class: &str,
        (left, top): (f64, f64),
        (right, bottom): (f64, f64),
    ) {
        let (width, height) = (right - left, bottom - top);
        self.push(&format!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// A line through points.
    pub(crate) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut places = String::new();
        for (x, y) in points {
            let _ = write!(places, "{x:.1},{y:.1} ");
        }
        let places = places.trim_end();
        self.push(&format!("<polyline class=\"{class}\" points=\"{places}\"/>"));
    }

    /// A dot with a text that shows when pointed at.
    pub(crate) fn dot(&mut self, class: &str, (x, y): (f64, f64), title: &str) {
        let title = escaped(title);
        self.push(&format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{title}</title></circle>"
        ));
    }

    /// A text.
    pub(crate) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn push(&mut self, element: &str) {
        self.text.push_str(element);
        self.text.push('\n');
    }

    /// The drawing.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_cannot_leave_its_place() {
        assert_eq!(
            escaped("<b a=\"1\" c='2'>&\u{7}"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}"
        );
        assert_eq!(shortened("abcdef", 3), "abc…");
        assert_eq!(shortened("äbc", 3), "äbc");
        let mut svg = Svg::new(10.0, 10.0, "\"><script>");
        svg.text("t", (0.0, 0.0), Anchor::End, "</text><script>");
        svg.dot("d", (0.0, 0.0), "</title>");
        let svg = svg.finish();
        assert!(!svg.contains("<script>") && !svg.contains("</text><"), "{svg}");
        assert_eq!(svg.matches("</title>").count(), 1);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        for (range, count, expected) in [
            ((0.0, 1.0), 5, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            ((-3.0, 7.0), 4, vec![0.0, 5.0]),
            ((-0.4, 0.4), 4, vec![-0.4, -0.2, 0.0, 0.2, 0.4]),
        ] {
            let found = Scale::linear(range, (0.0, 1.0)).ticks(count);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            let near = found.iter().zip(&expected).all(|(found, it)| (found - it).abs() < 1e-9);
            assert!(near, "{found:?}");
        }
        assert_eq!(Scale::logarithmic((5.0, 5e3), (0.0, 1.0)).ticks(4), [10.0, 100.0, 1000.0]);
        assert_eq!(Scale::logarithmic((9.0, 60.0), (0.0, 1.0)).ticks(4), [10.0, 20.0, 50.0]);
    }

    #[test]
    fn scales_map_their_ends() {
        let scale = Scale::logarithmic((10.0, 1000.0), (0.0, 100.0));
        assert_eq!([10.0, 100.0, 1000.0].map(|value| scale.at(value).round()), [0.0, 50.0, 100.0]);
        let flat = Scale::linear((2.0, 2.0), (0.0, 100.0));
        assert_eq!(flat.at(2.0), 50.0);
    }
}
