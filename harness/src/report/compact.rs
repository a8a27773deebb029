//! Makes a picture's SVG small: a report holds dozens of pictures and is one file to send.
//!
//! plotters writes every dot and every dash as an element of its own, with all attributes. Here
//! neighbours that look the same become one path, and what holds for every text is said once.

use std::fmt::Write as _;

/// A point may be moved off its line by this much, in the picture's units: a quarter of a pixel.
const NEAR: f64 = 1.0;

/// The body of an SVG as plotters writes it, one element a line, with less text and the same look.
/// `inherited` are the attributes that the picture has itself: they are left out of each text.
pub(super) fn compact(body: &str, inherited: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(body.len() / 3);
    let mut open: Option<Path> = None;
    // Texts between lines of one look, such as the labels of a grid, come after all of these lines.
    let mut labels = String::new();
    let inherited: Vec<String> =
        inherited.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
    let mut is_text = false;
    for line in body.lines() {
        // A text's content and its end stand on lines of their own, and spaces there are not drawn.
        if is_text || line.starts_with("<text ") {
            let begins = !is_text;
            is_text = line != "</text>";
            let line = line.replace(" opacity=\"1\"", "");
            let line = if begins {
                inherited.iter().fold(line, |line, known| line.replace(known, ""))
            } else {
                line
            };
            labels.push_str(&line);
            labels.push('\n');
            continue;
        }
        match Path::of(line) {
            Some(path) => match &mut open {
                Some(before) if before.look == path.look => before.parts.extend(path.parts),
                _ => finish(&mut text, open.replace(path), &mut labels),
            },
            None => {
                finish(&mut text, open.take(), &mut labels);
                text.push_str(&line.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", ""));
                text.push('\n');
            }
        }
    }
    finish(&mut text, open, &mut labels);
    text
}

fn finish(text: &mut String, path: Option<Path>, labels: &mut String) {
    if let Some(path) = path {
        let _ = writeln!(text, "<path {}d=\"{}\"/>", path.look, path.drawn());
    }
    text.push_str(labels);
    labels.clear();
}

/// Dots or lines of one look.
struct Path {
    /// Its attributes, a space after each.
    look: String,
    /// The points of each line; a dot has one.
    parts: Vec<Vec<(i64, i64)>>,
}

impl Path {
    /// A dot or a line; nothing for other elements.
    fn of(line: &str) -> Option<Self> {
        if let Some(circle) = line.strip_prefix("<circle ") {
            let [x, y, r] = ["cx", "cy", "r"].map(|name| value(circle, name)?.parse::<i64>().ok());
            // A line of no length with round ends is a dot.
            let look = format!(
                "{}stroke=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\" ",
                faint(circle)?,
                value(circle, "fill")?,
                2 * r?
            );
            return Some(Self { look, parts: vec![vec![(x?, y?)]] });
        }
        let polyline = line.strip_prefix("<polyline ")?;
        let points: Option<Vec<(i64, i64)>> = value(polyline, "points")?
            .split_whitespace()
            .map(|point| {
                let (x, y) = point.split_once(',')?;
                Some((x.parse().ok()?, y.parse().ok()?))
            })
            .collect();
        let points = points.filter(|points| points.len() > 1)?;
        let look = format!(
            "fill=\"none\" {}stroke=\"{}\" stroke-width=\"{}\" ",
            faint(polyline)?,
            value(polyline, "stroke")?,
            value(polyline, "stroke-width")?
        );
        Some(Self { look, parts: vec![fewer(&points)] })
    }

    /// In the words of SVG's paths: steps are shorter than places.
    fn drawn(&self) -> String {
        let mut drawn = String::new();
        let mut at = (0, 0);
        for part in &self.parts {
            for (index, point) in part.iter().enumerate() {
                let (x, y) = (point.0 - at.0, point.1 - at.1);
                let _ = match (index, x, y) {
                    (0, ..) => write!(drawn, "m{x} {y}"),
                    (_, x, 0) => write!(drawn, "h{x}"),
                    (_, 0, y) => write!(drawn, "v{y}"),
                    _ => write!(drawn, "l{x} {y}"),
                };
                at = *point;
            }
            if part.len() == 1 {
                drawn.push_str("h0");
            }
        }
        drawn
    }
}

fn value<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let start =
        element.find(&format!("{name}=\"")).filter(|at| *at == 0 || element.as_bytes()[at - 1] == b' ')?;
    element[start + name.len() + 2..].split('"').next()
}

/// Its opacity as an attribute, where it is not opaque.
fn faint(element: &str) -> Option<String> {
    match value(element, "opacity")? {
        "1" => Some(String::new()),
        opacity => Some(format!("opacity=\"{opacity}\" ")),
    }
}

/// A line without the points that make no visible difference (Ramer, Douglas and Peucker).
fn fewer(points: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut keep = vec![false; points.len()];
    let last = points.len() - 1;
    (keep[0], keep[last]) = (true, true);
    let mut parts = vec![(0, last)];
    while let Some((from, to)) = parts.pop() {
        let far = (from + 1..to).map(|at| (at, distance(points[at], points[from], points[to])));
        let Some((at, most)) = far.max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        if most > NEAR {
            keep[at] = true;
            parts.extend([(from, at), (at, to)]);
        }
    }
    points.iter().zip(keep).filter(|(_, keep)| *keep).map(|(point, _)| *point).collect()
}

/// How far a point is from the line between two others.
fn distance(point: (i64, i64), from: (i64, i64), to: (i64, i64)) -> f64 {
    let (dx, dy) = ((to.0 - from.0) as f64, (to.1 - from.1) as f64);
    let (px, py) = ((point.0 - from.0) as f64, (point.1 - from.1) as f64);
    let squared = dx * dx + dy * dy;
    let along = if squared > 0.0 { ((px * dx + py * dy) / squared).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let inherited = [("font-family", "Font, sans-serif"), ("fill", "#5D6670")];
        assert_eq!(compact(body, &inherited), expected);
    }

    #[test]
    fn dots_of_one_look_are_one_path() {
        check(
            r##"<circle cx="263" cy="445" r="5" opacity="0.6" fill="#80868D" stroke="none" stroke-width="1"/>
<circle cx="294" cy="492" r="5" opacity="0.6" fill="#80868D" stroke="none" stroke-width="1"/>
<circle cx="1" cy="2" r="5" opacity="1" fill="#80868D" stroke="none" stroke-width="1"/>"##,
            "<path opacity=\"0.6\" stroke=\"#80868D\" stroke-width=\"10\" stroke-linecap=\"round\" d=\"m263 445h0m31 47h0\"/>\n\
             <path stroke=\"#80868D\" stroke-width=\"10\" stroke-linecap=\"round\" d=\"m1 2h0\"/>\n",
        );
    }

    #[test]
    fn lines_of_a_grid_are_one_path_below_their_labels() {
        let line = |x: u32| {
            format!(
                "<polyline fill=\"none\" opacity=\"1\" stroke=\"#DDE2E8\" stroke-width=\"4\" points=\"{x},0 {x},9 \"/>"
            )
        };
        let body = format!(
            "{}\n<text x=\"1\">\n1\n</text>\n{}\n<text x=\"2\">\n2\n</text>\n</svg>",
            line(1),
            line(3)
        );
        check(
            &body,
            "<path fill=\"none\" stroke=\"#DDE2E8\" stroke-width=\"4\" d=\"m1 0v9m2 -9v9\"/>\n\
             <text x=\"1\">\n1\n</text>\n<text x=\"2\">\n2\n</text>\n</svg>\n",
        );
    }

    #[test]
    fn lines_lose_points_that_nobody_sees_and_no_others() {
        check(
            "<polyline fill=\"none\" opacity=\"1\" stroke=\"#DDE2E8\" stroke-width=\"4\" points=\"0,0 10,0 20,1 30,0 30,40 50,60 \"/>",
            "<path fill=\"none\" stroke=\"#DDE2E8\" stroke-width=\"4\" d=\"m0 0h30v40l20 20\"/>\n",
        );
        // A point in the middle of the way back is far from the line's end, though it is on its ray.
        assert_eq!(fewer(&[(0, 0), (90, 0), (10, 0)]).len(), 3);
    }

    #[test]
    fn other_elements_stay_as_they_are() {
        check(
            "<text x=\"1\" y=\"2\" font-family=\"Font, sans-serif\" font-size=\"44\" opacity=\"1\" fill=\"#5D6670\">\n<circle \n</text>\n<rect fill=\"#5D6670\"/>\n</svg>",
            "<text x=\"1\" y=\"2\" font-size=\"44\">\n<circle \n</text>\n<rect fill=\"#5D6670\"/>\n</svg>\n",
        );
    }
}
