//! One line over the steps with its axes.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::DrawingError;

/// Beyond it a figure is no loss and no metric, and differences of doubles overflow.
const LARGEST: f64 = 1e30;
/// A line of more points would show no more of them.
const MOST_POINTS: usize = 2000;
/// So many points are drawn as dots too.
const MOST_DOTS: usize = 50;

/// A named line over the steps.
pub(crate) struct Panel<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(i32, f64)>,
    pub(crate) color: RGBColor,
}

impl Panel<'_> {
    /// The panel with the points that can be drawn; nothing if there are none.
    pub(crate) fn drawable(mut self) -> Option<Self> {
        self.points.retain(|(_, value)| value.abs() <= LARGEST);
        let every = self.points.len().div_ceil(MOST_POINTS).max(1);
        let last = self.points.last().copied()?;
        let mut thinned: Vec<_> = self.points.iter().copied().step_by(every).collect();
        if thinned.last() != Some(&last) {
            thinned.push(last);
        }
        self.points = thinned;
        Some(self)
    }
}

/// Draws the panel over the whole area.
pub(crate) fn draw<B: DrawingBackend>(
    panel: &Panel<'_>,
    area: &DrawingArea<B, Shift>,
) -> Result<(), DrawingError>
where
    B::ErrorType: 'static,
{
    let points: Vec<(f64, f64)> =
        panel.points.iter().map(|&(step, value)| (f64::from(step), value)).collect();
    let steps = range(points.iter().map(|point| point.0), 0.5);
    let values = range(points.iter().map(|point| point.1), 0.0);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(steps, values)?;
    // Steps are whole: a tick between two has no name.
    let whole = |step: &f64| match step.fract() {
        0.0 => format!("{step:.0}"),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(points.len().clamp(2, 10))
        .y_labels(6)
        .x_label_formatter(&whole)
        .y_label_formatter(&figure)
        .x_desc("step")
        .y_desc(panel.name)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), panel.color.stroke_width(2)))?;
    if points.len() <= MOST_DOTS {
        let dot = |&point: &(f64, f64)| Circle::new(point, 3, panel.color.filled());
        chart.draw_series(points.iter().map(dot))?;
    }
    Ok(())
}

/// From the least to the largest with some room, at least `half` around a single number. It is wide
/// enough for its numbers that ticks between its ends are different doubles.
fn range(numbers: impl Iterator<Item = f64> + Clone, half: f64) -> std::ops::Range<f64> {
    let least = numbers.clone().fold(f64::INFINITY, f64::min);
    let most = numbers.fold(f64::NEG_INFINITY, f64::max);
    let width = most - least;
    let resolved = (least.abs().max(most.abs()) * 1e-6).max(1e-9);
    let room = (width * 0.05).max(half).max(resolved - width);
    least - room..most + room
}

/// A value as an axis shows it.
fn figure(value: &f64) -> String {
    match value.abs() {
        1e-3..1e5 => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        0.0 => "0".to_owned(),
        _ => format!("{value:.2e}"),
    }
}
