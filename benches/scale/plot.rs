//! The figures as a picture: one panel per kind, over the number of active grants.
//!
//! Its colours are readable on white and on black, and it has no background of its own.

use std::path::{Path, PathBuf};

use clap::Args;
use plotters::backend::SVGBackend;
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement},
    series::LineSeries,
    style::{Color, IntoFont, RGBColor, TRANSPARENT},
};

use super::{
    measures::Measure,
    record::{self, Step, points},
};
use crate::Failure;

/// Width and height of a panel, and the number of columns and rows.
const PANEL: (u32, u32) = (460, 240);
const GRID: (usize, usize) = (3, 2);
const GREY: RGBColor = RGBColor(125, 133, 144);
const COLOURS: [RGBColor; 2] = [RGBColor(56, 132, 214), RGBColor(219, 125, 40)];
/// Space above the highest point, for the legend.
const HEADROOM: f64 = 1.35;

/// Where the picture goes.
#[derive(Debug, Args)]
pub struct Options {
    /// The file.
    file: PathBuf,
}

/// The content of one panel.
struct Panel {
    title: &'static str,
    lines: &'static [(Measure, &'static str)],
}

const PANELS: [Panel; 6] = [
    Panel { title: "memory of a replica, MiB", lines: &[(Measure::LeaderMemory, "leader"), (Measure::StartedMemory, "just started")] },
    Panel { title: "start to the last timer armed, ms", lines: &[(Measure::StartUp, "")] },
    Panel {
        title: "latency p50, ms",
        lines: &[(Measure::CreatedToSeen, "request created to binding observed"), (Measure::DeadlineToGone, "deadline to binding gone")],
    },
    Panel { title: "CPU of the leader, idle, % of one", lines: &[(Measure::IdleCpu, "")] },
    Panel { title: "activations per second, 16 at once", lines: &[(Measure::Rate, "")] },
    Panel { title: "memory of the servers, MiB", lines: &[(Measure::ApiserverMemory, "API server"), (Measure::EtcdMemory, "etcd")] },
];

/// Draws the figures that are measured so far.
pub fn run(options: &Options, directory: &Path) -> Result<(), Failure> {
    draw(&record::steps(&directory.join("scale"))?, &options.file)
}

/// Draws these steps.
pub fn draw(steps: &[Step], file: &Path) -> Result<(), Failure> {
    let (rows, columns) = GRID;
    let size = (PANEL.0 * u32::try_from(columns)?, PANEL.1 * u32::try_from(rows)?);
    let root = SVGBackend::new(file, size).into_drawing_area();
    for (area, panel) in root.split_evenly(GRID).iter().zip(&PANELS) {
        draw_panel(area, panel, steps)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel, steps: &[Step]) -> Result<(), Failure> {
    let lines: Vec<_> = panel.lines.iter().map(|(measure, name)| (points(steps, *measure), *name)).collect();
    let all = || lines.iter().flat_map(|(points, _)| points.iter().copied());
    let right = all().map(|(x, _)| x).fold(1.0, f64::max);
    let top = all().map(|(_, y)| y).fold(0.0, f64::max).max(0.1) * HEADROOM;
    let text = |size: f64| ("sans-serif", size).into_font().color(&GREY);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, text(16.0))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..right * 1.02, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .axis_style(GREY)
        .label_style(text(13.0))
        .x_desc("active grants")
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    for ((points, name), colour) in lines.iter().zip(COLOURS) {
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        if !name.is_empty() {
            drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        }
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    if lines.len() > 1 {
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).label_font(text(13.0)).legend_area_size(22).draw()?;
    }
    Ok(())
}

/// Formats a number with thousands separators, and with decimals only where it is small.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 10.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at_checked(first).unwrap_or(("", &digits));
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}
