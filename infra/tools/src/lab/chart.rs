//! Charts as SVG in the page's colours: a chart names a variable for each colour, and the page defines it for light and
//! dark.

use anyhow::{Context, Result};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::latencies::rounded;

/// Small, so that text stays legible on a phone. The page stretches it.
const SIZE: (u32, u32) = (360, 240);
/// In SVG it is a fifth smaller.
const FONT: (&str, i32) = ("sans-serif", 16);
/// Half the width of a mark.
const MARK: i32 = 4;

/// Placeholders of the page's variables: text, grid, and a colour for each series.
const TEXT: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const SERIES: [RGBColor; 3] = [RGBColor(3, 3, 3), RGBColor(4, 4, 4), RGBColor(5, 5, 5)];
/// Their names in the page's style.
const VARIABLES: [(RGBColor, &str); 5] = [
    (TEXT, "--text"),
    (GRID, "--grid"),
    (SERIES[0], "--series-0"),
    (SERIES[1], "--series-1"),
    (SERIES[2], "--series-2"),
];
/// Each series' mark in the legend, for readers who see no colours.
const MARKS: [char; 3] = ['●', '▲', '■'];

pub struct Chart {
    pub title: &'static str,
    content: Content,
}

enum Content {
    Lines { x: Axis, y: Axis, lines: Vec<Line> },
    Bars { groups: Vec<String>, values: Vec<f64> },
}

/// An axis from 0.
pub struct Axis {
    pub name: &'static str,
    pub end: f64,
}

pub struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
    /// Whether its points are marked: measured ones are.
    is_marked: bool,
}

impl Line {
    /// A line of measured points.
    pub fn marked(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, points, is_marked: true }
    }

    /// A line of computed points.
    pub fn plain(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, points, is_marked: false }
    }
}

impl Chart {
    pub fn lines(title: &'static str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self { title, content: Content::Lines { x, y, lines } }
    }

    /// One bar each, with its value above it.
    pub fn bars(title: &'static str, bars: &[(&str, f64)]) -> Self {
        let (groups, values) = bars.iter().map(|(name, value)| ((*name).to_owned(), *value)).unzip();
        Self { title, content: Content::Bars { groups, values } }
    }

    /// The names of the lines, with their marks.
    pub fn legend(&self) -> Vec<(&'static str, char)> {
        let Content::Lines { lines, .. } = &self.content else { return Vec::new() };
        let mark = |(line, mark): (&Line, char)| (line.name, if line.is_marked { mark } else { '—' });
        lines.iter().zip(MARKS).map(mark).collect()
    }

    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        match &self.content {
            Content::Lines { x, y, lines } => draw_lines(&area, x, y, lines),
            Content::Bars { groups, values } => draw_bars(&area, groups, values),
        }
        .and_then(|()| Ok(area.present()?))
        .with_context(|| format!("cannot draw {}", self.title))?;
        drop(area);
        Ok(self.in_page_colours(&svg))
    }

    /// Scalable, in the page's colours, and with a name for screen readers.
    fn in_page_colours(&self, svg: &str) -> String {
        let (width, height) = SIZE;
        let mut svg = svg.replacen(
            &format!("<svg width=\"{width}\" height=\"{height}\""),
            &format!("<svg role=\"img\" aria-label=\"{}\"", self.title),
            1,
        );
        for (colour, variable) in VARIABLES {
            let RGBColor(red, green, blue) = colour;
            for property in ["fill", "stroke"] {
                let sentinel = format!("{property}=\"#{red:02X}{green:02X}{blue:02X}\"");
                svg = svg.replace(&sentinel, &format!("style=\"{property}:var({variable})\""));
            }
        }
        svg
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn text(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    TextStyle::from(FONT).color(&TEXT).pos(Pos::new(horizontal, vertical))
}

fn draw_lines(area: &Area, x: &Axis, y: &Axis, lines: &[Line]) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(12)
        .margin_right(18)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..x.end, 0.0..y.end)?;
    chart
        .configure_mesh()
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&f64::to_string)
        .y_label_formatter(&f64::to_string)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text(HPos::Center, VPos::Center))
        .x_desc(x.name)
        .y_desc(y.name)
        .draw()?;
    for (index, (line, colour)) in lines.iter().zip(SERIES).enumerate() {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        let points = line.points.iter().copied().filter(|_| line.is_marked);
        match index {
            0 => chart.draw_series(points.map(|point| Circle::new(point, MARK, colour.filled())))?,
            1 => chart.draw_series(points.map(|point| TriangleMarker::new(point, MARK + 1, colour.filled())))?,
            _ => {
                let corners = [(-MARK, -MARK), (MARK, MARK)];
                chart.draw_series(points.map(|at| EmptyElement::at(at) + Rectangle::new(corners, colour.filled())))?
            }
        };
    }
    Ok(())
}

fn draw_bars(area: &Area, groups: &[String], values: &[f64]) -> Result<()> {
    let (count, highest) = (f64::from(u32::try_from(values.len())?), values.iter().copied().fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(area)
        .margin_top(24)
        .x_label_area_size(28)
        .build_cartesian_2d(0.0..count, 0.0..highest.max(f64::MIN_POSITIVE))?;
    for ((middle, group), value) in (0_u32..).map(|index| f64::from(index) + 0.5).zip(groups).zip(values) {
        let bar = Rectangle::new([(middle - 0.28, 0.0), (middle + 0.28, *value)], SERIES[0].filled());
        chart.draw_series([bar])?;
        let above =
            EmptyElement::at((middle, *value)) + Text::new(rounded(*value), (0, -6), text(HPos::Center, VPos::Bottom));
        let below = EmptyElement::at((middle, 0.0)) + Text::new(group.clone(), (0, 8), text(HPos::Center, VPos::Top));
        chart.draw_series([above, below])?;
    }
    chart.draw_series([PathElement::new([(0.0, 0.0), (count, 0.0)], GRID)])?;
    Ok(())
}
