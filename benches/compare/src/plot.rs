//! Charts as SVG text: lines over labelled places, bars, and ranges. Knows numbers and names, no cache.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 52.0;
const LINES_HEIGHT: f64 = 420.0;
const LEGEND_WIDTH: f64 = 170.0;
const LEGEND_STEP: f64 = 18.0;
const NAMES_WIDTH: f64 = 170.0;
const BAR_STEP: f64 = 24.0;
const TICKS: f64 = 6.0;

/// Told apart in print and by people who see few colours: a name stands beside each anyway.
const COLOURS: [&str; 12] = [
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2",
    "#bcbd22", "#7f7f7f", "#005f73", "#9b2226",
];

/// How the vertical axis of a line chart, or the horizontal one of ranges, is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, in equal steps.
    Linear,
    /// By factors.
    Log,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Thin.
    Plain,
    /// Thick, for what the chart is about.
    Bold,
    /// Dashed, for what is only a bound.
    Dashed,
}

/// A point with its spread.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Which of the labelled places it stands at.
    pub place: usize,
    /// The least, the median and the greatest value, all above zero.
    pub values: [f64; 3],
}

/// A named line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points from left to right.
    pub points: Vec<Point>,
}

/// Lines over labelled places.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// The title above.
    pub title: String,
    /// What the places are.
    pub across: String,
    /// What the values are, with their unit.
    pub upward: String,
    /// How the vertical axis is divided.
    pub scale: Scale,
    /// The places from left to right.
    pub places: Vec<String>,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis: maps a value to a share of its length, and knows its ticks.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let high = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        let low = values.filter(|value| *value > 0.0).fold(high, f64::min);
        match scale {
            Scale::Linear => Self { scale, low: 0.0, high: high * 1.06 },
            Scale::Log => Self { scale, low: low / 1.25, high: high * 1.25 },
        }
    }

    fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / TICKS);
                let count = (self.high / step) as usize;
                (0..=count).map(|n| n as f64 * step).collect()
            }
            Scale::Log => {
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                let decades = (first..=last).map(|power| 10.0_f64.powi(power));
                let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|factor| factor * decade));
                let all: Vec<f64> =
                    all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
                let is_crowded = all.len() > 10;
                let is_kept = |tick: &f64| !is_crowded || (tick.log10().fract()).abs() < 1e-9;
                all.into_iter().filter(is_kept).collect()
            }
        }
    }
}

/// The least of 1, 2, 5, 10, … times a power of ten that is no smaller than `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10.0_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// A number with as many digits as an axis needs.
fn tick_label(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e4 => format!("{}k", v / 1e3),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The text of an SVG file while it grows. Writing to a string cannot fail.
struct Canvas(String);

impl Canvas {
    fn new(height: f64, title: &str) -> Self {
        let mut canvas = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ));
        let _ = writeln!(
            canvas.0,
            "<text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{}</text>",
            escape(title)
        );
        canvas
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    }

    fn text(&mut self, at: (f64, f64), anchor: &str, text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn raw(&mut self, element: &str) {
        self.0.push_str(element);
        self.0.push('\n');
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

const GRID: &str = "stroke=\"#dddddd\"";

impl LineChart {
    /// The chart as an SVG file.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let mut canvas = Canvas::new(LINES_HEIGHT, &self.title);
        let right = WIDTH - LEGEND_WIDTH - 16.0;
        let floor = LINES_HEIGHT - BOTTOM;
        let values = self.series.iter().flat_map(|series| &series.points);
        let axis = Axis::new(self.scale, values.flat_map(|point| point.values));
        let y = |value: f64| floor - axis.share(value) * (floor - TOP);
        let steps = self.places.len().max(2) - 1;
        let x = |place: usize| LEFT + 24.0 + place as f64 / steps as f64 * (right - LEFT - 48.0);
        for tick in axis.ticks() {
            canvas.line((LEFT, y(tick)), (right, y(tick)), GRID);
            canvas.text((LEFT - 6.0, y(tick) + 4.0), "end", &tick_label(tick));
        }
        for (place, label) in self.places.iter().enumerate() {
            canvas.line((x(place), floor), (x(place), floor + 5.0), "stroke=\"#555555\"");
            canvas.text((x(place), floor + 19.0), "middle", label);
        }
        canvas.line((LEFT, floor), (right, floor), "stroke=\"#555555\"");
        canvas.text(((LEFT + right) / 2.0, LINES_HEIGHT - 12.0), "middle", &self.across);
        canvas.raw(&format!(
            "<text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + floor) / 2.0,
            escape(&self.upward)
        ));
        for (number, series) in self.series.iter().enumerate() {
            draw_series(&mut canvas, series, COLOURS[number % COLOURS.len()], (&x, &y));
        }
        self.draw_legend(&mut canvas, right + 16.0);
        canvas.finish()
    }

    /// Names from the line that ends highest to the one that ends lowest, as the eye meets them.
    fn draw_legend(&self, canvas: &mut Canvas, left: f64) {
        let mut order: Vec<usize> = (0..self.series.len()).collect();
        let last = |number: &usize| {
            self.series[*number].points.last().map_or(0.0, |point| point.values[1])
        };
        order.sort_by(|a, b| last(b).total_cmp(&last(a)));
        for (step, number) in order.into_iter().enumerate() {
            let at = TOP + 8.0 + step as f64 * LEGEND_STEP;
            let series = &self.series[number];
            let style = stroke_style(series.stroke, COLOURS[number % COLOURS.len()]);
            canvas.line((left, at), (left + 22.0, at), &style);
            canvas.text((left + 28.0, at + 4.0), "start", &series.name);
        }
    }
}

fn stroke_style(stroke: Stroke, colour: &str) -> String {
    let width = if stroke == Stroke::Bold { 3.0 } else { 1.6 };
    let dash = if stroke == Stroke::Dashed { " stroke-dasharray=\"6 4\"" } else { "" };
    format!("stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"none\"{dash}")
}

type Places<'a> = (&'a dyn Fn(usize) -> f64, &'a dyn Fn(f64) -> f64);

fn draw_series(canvas: &mut Canvas, series: &Series, colour: &str, (x, y): Places<'_>) {
    let mut path = String::new();
    for point in &series.points {
        let [low, middle, high] = point.values;
        let at = x(point.place);
        let _ = write!(path, "{at:.1},{:.1} ", y(middle));
        let whisker = format!("stroke=\"{colour}\" stroke-width=\"1\" opacity=\"0.6\"");
        canvas.line((at, y(low)), (at, y(high)), &whisker);
        canvas.raw(&format!(
            "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
            y(middle)
        ));
    }
    let style = stroke_style(series.stroke, colour);
    canvas.raw(&format!("<polyline points=\"{}\" {style}/>", path.trim()));
}

/// A name with its values: the parts of a stacked bar, or the marks of a range from left to right.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name, to the left.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
}

/// Named bars below each other: stacked on a linear scale, marks along a line on a logarithmic one.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// The title above.
    pub title: String,
    /// What the values are, with their unit.
    pub across: String,
    /// How the axis is divided, and so how the values are shown.
    pub scale: Scale,
    /// What the values of a bar are, in order.
    pub parts: Vec<String>,
    /// The bars from top to bottom.
    pub bars: Vec<Bar>,
}

impl BarChart {
    /// The chart as an SVG file.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let floor = TOP + 26.0 + self.bars.len() as f64 * BAR_STEP;
        let mut canvas = Canvas::new(floor + BOTTOM, &self.title);
        let (left, right) = (NAMES_WIDTH, WIDTH - 70.0);
        let extent = |bar: &Bar| match self.scale {
            Scale::Linear => vec![bar.values.iter().sum()],
            Scale::Log => bar.values.clone(),
        };
        let extents: Vec<f64> = self.bars.iter().flat_map(extent).collect();
        let axis = Axis::new(self.scale, extents.into_iter());
        let x = |value: f64| left + axis.share(value) * (right - left);
        for tick in axis.ticks() {
            canvas.line((x(tick), TOP + 20.0), (x(tick), floor), GRID);
            canvas.text((x(tick), floor + 17.0), "middle", &tick_label(tick));
        }
        canvas.text(((left + right) / 2.0, floor + 38.0), "middle", &self.across);
        for (number, part) in self.parts.iter().enumerate() {
            let at = left + number as f64 * 160.0;
            canvas.raw(&square((at, TOP - 6.0), (11.0, 11.0), COLOURS[number % COLOURS.len()]));
            canvas.text((at + 16.0, TOP + 4.0), "start", part);
        }
        for (number, bar) in self.bars.iter().enumerate() {
            let middle = TOP + 26.0 + (number as f64 + 0.5) * BAR_STEP;
            canvas.text((left - 8.0, middle + 4.0), "end", &bar.name);
            match self.scale {
                Scale::Linear => draw_stack(&mut canvas, bar, middle, &x),
                Scale::Log => draw_marks(&mut canvas, bar, middle, &x),
            }
        }
        canvas.finish()
    }
}

fn square((x, y): (f64, f64), (width, height): (f64, f64), colour: &str) -> String {
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    )
}

fn draw_stack(canvas: &mut Canvas, bar: &Bar, middle: f64, x: &dyn Fn(f64) -> f64) {
    let mut sum = 0.0;
    for (number, value) in bar.values.iter().enumerate() {
        let (from, to) = (x(sum), x(sum + value.max(0.0)));
        let colour = COLOURS[number % COLOURS.len()];
        canvas.raw(&square((from, middle - 8.0), (to - from, 16.0), colour));
        sum += value.max(0.0);
    }
    canvas.text((x(sum) + 5.0, middle + 4.0), "start", &format!("{sum:.0}"));
}

fn draw_marks(canvas: &mut Canvas, bar: &Bar, middle: f64, x: &dyn Fn(f64) -> f64) {
    if let (Some(first), Some(last)) = (bar.values.first(), bar.values.last()) {
        canvas.line((x(*first), middle), (x(*last), middle), "stroke=\"#999999\"");
    }
    for (number, value) in bar.values.iter().enumerate() {
        let (at, colour) = (x(*value), COLOURS[number % COLOURS.len()]);
        canvas
            .raw(&format!("<circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"5\" fill=\"{colour}\"/>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(round_step(0.7), 1.0);
        assert_eq!(round_step(13.0), 20.0);
        assert_eq!(round_step(50.0), 50.0);
    }

    #[test]
    fn an_axis_maps_its_ends() {
        let axis = Axis { scale: Scale::Log, low: 10.0, high: 1_000.0 };
        assert_eq!(axis.share(10.0), 0.0);
        assert!((axis.share(100.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.ticks(), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0]);
    }
}
