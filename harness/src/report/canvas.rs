//! A picture as a list of shapes, measured in CSS pixels, drawn with plotters.

use std::sync::Once;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, register_font};

use super::compact::compact;
use super::palette::{self, GRID, INK, MUTED};

/// What browsers are asked for. DejaVu Sans is what widths are measured with;
/// Verdana is as wide, and everything else is narrower, so nothing overlaps.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// What holds for most texts of a picture: said once, and left out of those.
const INHERITED: [(&str, &str); 4] =
    [("font-family", FONT), ("text-anchor", "middle"), ("font-size", "44"), ("fill", "#5D6670")];
static DEJAVU: &[u8] = include_bytes!("../../assets/DejaVuSans.ttf");

/// plotters counts in whole units; four of them a pixel keep curves smooth.
const UNITS: f64 = 4.0;
/// plotters writes a font's size divided by this.
const PLOTTERS_FONT_FACTOR: f64 = 1.24;

/// A point, in pixels from the top left.
pub(crate) type Point = (f64, f64);

enum Shape {
    Line { points: Vec<Point>, colour: RGBAColor, width: f64 },
    Rect { from: Point, to: Point, colour: RGBAColor },
    Dot { at: Point, radius: f64, colour: RGBAColor },
    Text { text: String, at: Point, style: Type },
}

/// The style and alignment of a text.
#[derive(Clone, Copy)]
pub(crate) struct Type {
    size: f64,
    bold: bool,
    colour: RGBColor,
    align: HPos,
    upwards: bool,
}

/// Text of a label.
pub(crate) const LABEL: Type =
    Type { size: 12.0, bold: false, colour: INK, align: HPos::Left, upwards: false };
/// Text at an axis, or beside something.
pub(crate) const NOTE: Type =
    Type { size: 11.0, bold: false, colour: MUTED, align: HPos::Left, upwards: false };
/// Text above a group.
pub(crate) const HEAD: Type = Type { size: 12.0, bold: true, colour: INK, align: HPos::Left, upwards: false };

impl Type {
    /// Ends at its point.
    pub(crate) const fn right(self) -> Self {
        Self { align: HPos::Right, ..self }
    }

    /// Is centred on its point.
    pub(crate) const fn centre(self) -> Self {
        Self { align: HPos::Center, ..self }
    }

    /// Reads upwards.
    pub(crate) const fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }

    fn font(self) -> FontDesc<'static> {
        register();
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FONT), self.size * PLOTTERS_FONT_FACTOR * UNITS, style)
    }

    /// The width of a text, px, with a little to spare.
    pub(crate) fn width(self, text: &str) -> f64 {
        let bold = if self.bold { 1.1 } else { 1.0 };
        self.font().box_size(text).map_or(0.0, |(width, _)| f64::from(width) / UNITS * bold)
    }

    /// `text`, cut with an ellipsis where it is wider than `room` px.
    pub(crate) fn fit(self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.to_owned();
        }
        let mut cut: String = text.to_owned();
        while cut.pop().is_some() && self.width(&format!("{cut}…")) > room {}
        format!("{cut}…")
    }
}

/// The font is compiled in: the same picture on every machine, and none without fonts.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // One that cannot be parsed shows as an error when the first text is drawn.
        let _ = register_font(FONT, FontStyle::Normal, DEJAVU);
    });
}

/// A picture being drawn.
pub(crate) struct Canvas {
    /// Width, px.
    pub(crate) width: f64,
    /// Height, px.
    pub(crate) height: f64,
    shapes: Vec<Shape>,
}

impl Canvas {
    pub(crate) const fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    pub(crate) fn line(&mut self, points: Vec<Point>, colour: impl Into<RGBAColor>, width: f64) {
        self.shapes.push(Shape::Line { points, colour: colour.into(), width });
    }

    pub(crate) fn rect(&mut self, from: Point, to: Point, colour: impl Into<RGBAColor>) {
        self.shapes.push(Shape::Rect { from, to, colour: colour.into() });
    }

    pub(crate) fn dot(&mut self, at: Point, radius: f64, colour: impl Into<RGBAColor>) {
        self.shapes.push(Shape::Dot { at, radius, colour: colour.into() });
    }

    /// `at` is the middle of the text's height, at the end that its type says.
    pub(crate) fn text(&mut self, text: impl Into<String>, at: Point, style: Type) {
        self.shapes.push(Shape::Text { text: text.into(), at, style });
    }

    /// A grid line.
    pub(crate) fn grid(&mut self, from: Point, to: Point) {
        self.line(vec![from, to], GRID, 1.0);
    }

    /// The picture as SVG without a ground of its own, for a page that has one.
    /// `alt` is the alternative text.
    pub(crate) fn svg(&self, alt: &str) -> Result<String> {
        let mut text = String::new();
        {
            let size = (units(self.width) as u32, units(self.height) as u32);
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            for shape in &self.shapes {
                draw(shape, &area).map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
            }
            area.present().map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
        }
        let body = text.split_once('>').map_or("", |(_, body)| body);
        let (w, h) = (self.width.round(), self.height.round());
        let (box_w, box_h) = (units(self.width), units(self.height));
        let alt = alt.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let inherited: Vec<String> =
            INHERITED.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {box_w} {box_h}\" \
             {} stroke-linejoin=\"round\" role=\"img\" aria-label=\"{alt}\">{}",
            inherited.join(" "),
            compact(body, &INHERITED).trim_end()
        ))
    }
}

/// The same picture for a file of its own: with a ground, light or dark.
pub(crate) fn standalone(svg: &str) -> String {
    let ground = palette::hex(palette::PAPER).to_uppercase();
    svg.replacen(
        '>',
        &format!(">\n{}\n<rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>", palette::DARK_STYLE),
        1,
    ) + "\n"
}

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn draw<DB: DrawingBackend>(
    shape: &Shape,
    area: &DrawingArea<DB, plotters::coord::Shift>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let at = |point: &Point| (units(point.0), units(point.1));
    match shape {
        Shape::Line { points, colour, width } => {
            let style = colour.stroke_width(units(*width) as u32);
            area.draw(&PathElement::new(points.iter().map(at).collect::<Vec<_>>(), style))
        }
        Shape::Rect { from, to, colour } => area.draw(&Rectangle::new([at(from), at(to)], colour.filled())),
        Shape::Dot { at: centre, radius, colour } => {
            area.draw(&Circle::new(at(centre), units(*radius), colour.filled()))
        }
        Shape::Text { text, at: place, style } => {
            let mut font = style.font();
            if style.upwards {
                font = font.transform(FontTransform::Rotate270);
            }
            let pos = Pos::new(style.align, VPos::Center);
            area.draw(&Text::new(text.as_str(), at(place), font.color(&style.colour).pos(pos)))
        }
    }
}
