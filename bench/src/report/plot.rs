//! Plots as SVG. Both axes are logarithmic, so the same ratio has the same distance everywhere.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::report::section::Plot;

/// A colour for each line, distinguishable with red-green colour blindness (the palette of Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];

impl Plot {
    /// Writes the plot to `file`.
    pub(crate) fn draw(&self, file: &Path) -> Result<()> {
        self.try_draw(file).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
    }

    fn try_draw(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(file, (720, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let (x, y) = (self.range(|(x, _)| x), self.range(|(_, y)| y));
        // Leave room for the legend above the lines.
        let y = y.start / 1.3..y.end * 4.0;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .margin_right(36)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(220, 220, 220))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| {
                if *y >= 10.0 {
                    format!("{y:.0}")
                } else if *y >= 0.1 {
                    format!("{y:.1}")
                } else {
                    format!("{y}")
                }
            })
            .label_style(("sans-serif", 13))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let points = || line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .draw()?;
        root.present()?;
        Ok(())
    }

    /// Returns the range of a coordinate over all lines. The range is never empty.
    fn range(&self, coordinate: impl Fn((f64, f64)) -> f64) -> Range<f64> {
        let all = self.lines.iter().flat_map(|line| &line.points).map(|&point| coordinate(point));
        let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), one| (low.min(one), high.max(one)));
        low..high.max(low * 1.01)
    }
}
