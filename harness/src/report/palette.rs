//! Colours: one for each transport, the same in every plot, and the inks that
//! a dark page replaces.

use plotters::style::RGBColor;

/// Text.
pub(crate) const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
/// Axes and their labels.
pub(crate) const MUTED: RGBColor = RGBColor(0x5d, 0x66, 0x70);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xdd, 0xe2, 0xe8);
/// A shaded region, such as the warm-up.
pub(crate) const SHADE: RGBColor = RGBColor(0xee, 0xf1, 0xf5);
/// The ground of a picture.
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// The style in a picture's own file, so that it follows the reader's light or dark setting; in
/// the report the page's style does the same.
pub(crate) const DARK_STYLE: &str = "<style>@media (prefers-color-scheme: dark) {\
[fill=\"#FFFFFF\"]{fill:#15191f}[fill=\"#1F2328\"]{fill:#e4e8ec}[stroke=\"#1F2328\"]{stroke:#e4e8ec}\
[fill=\"#5D6670\"]{fill:#9aa4af}[stroke=\"#5D6670\"]{stroke:#9aa4af}[stroke=\"#DDE2E8\"]{stroke:#313841}\
[fill=\"#EEF1F5\"]{fill:#232931}[fill=\"#125A8A\"]{fill:#6f93c9}[stroke=\"#125A8A\"]{stroke:#6f93c9}}</style>";

/// The actual value, beside the value that a wrong method reports: blue and vermilion of the
/// same palette as the transports.
pub(crate) const TRUTH: RGBColor = RGBColor(0x1a, 0x7f, 0xc1);
/// The value that a wrong method reports.
pub(crate) const WRONG: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// The transports and their colours: the Okabe-Ito palette, which readers with
/// any common colour vision tell apart, without its yellow (too pale on white)
/// and with grey for the baseline that everything is compared with.
const TRANSPORTS: [(&str, RGBColor); 13] = [
    ("inproc", RGBColor(0x80, 0x86, 0x8d)),
    ("tcp", RGBColor(0x56, 0xb4, 0xe9)),
    ("zeromq", RGBColor(0x00, 0x9e, 0x73)),
    ("redis", RGBColor(0xd5, 0x5e, 0x00)),
    ("rabbitmq", RGBColor(0xe6, 0x9f, 0x00)),
    ("nats", RGBColor(0x1a, 0x7f, 0xc1)),
    ("mqtt", RGBColor(0xcc, 0x79, 0xa7)),
    // More transports than the palette has colours: these are tints and shades
    // of its colours, and every line and bar is labelled besides.
    ("unix", RGBColor(0x3d, 0x8f, 0xb5)),
    ("udp", RGBColor(0x8f, 0xcb, 0xee)),
    ("websocket", RGBColor(0x6a, 0x6f, 0xb8)),
    ("jetstream", RGBColor(0x12, 0x5a, 0x8a)),
    ("stomp", RGBColor(0xb0, 0x8a, 0x3c)),
    ("kafka", RGBColor(0x9b, 0x4f, 0x7b)),
];

/// The colour of a transport; one that is not in the list gets a muted violet.
pub(crate) fn transport(name: &str) -> RGBColor {
    TRANSPORTS.iter().find(|(known, _)| *known == name).map_or(OTHER, |(_, colour)| *colour)
}

/// Colours of the parts of a cost, which are roles and not transports: the
/// broker's is prominent, because the peers do not see this part.
pub(crate) fn role(index: usize, name: &str) -> RGBColor {
    if name == "broker" {
        return RGBColor(0xa8, 0x6f, 0x9a);
    }
    [RGBColor(0x5b, 0x70, 0x83), RGBColor(0x93, 0xa5, 0xb5), RGBColor(0xbf, 0xca, 0xd4)][index % 3]
}

/// Colours of the hops of a pipeline, in the order of time. Waiting is pale, and
/// work on a message is dark.
pub(crate) fn hop(index: usize) -> RGBColor {
    [
        RGBColor(0xbf, 0xca, 0xd4),
        RGBColor(0x3f, 0x5d, 0x78),
        RGBColor(0x93, 0xa5, 0xb5),
        RGBColor(0x6f, 0x5a, 0x7d),
    ][index % 4]
}

/// A transport that is not in the list.
const OTHER: RGBColor = RGBColor(0x7d, 0x6b, 0x91);

/// The class of an element that is filled with a colour: `c-80868d`.
pub(crate) fn class(colour: RGBColor) -> String {
    hex(colour).replace('#', "c-")
}

/// Rules for these classes. A page's policy allows no style on elements themselves.
pub(crate) fn style() -> String {
    let colours = TRANSPORTS.iter().map(|(_, colour)| *colour).chain([OTHER]);
    colours.map(|colour| format!(".{}{{background:{}}}", class(colour), hex(colour))).collect()
}

/// `#80868d`, for HTML.
pub(crate) fn hex(colour: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_transports_share_a_colour_and_the_dark_style_knows_every_ink() {
        let mut seen: Vec<String> = TRANSPORTS.iter().map(|(_, colour)| hex(*colour)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), TRANSPORTS.len());
        for ink in [INK, MUTED, GRID, SHADE, PAPER] {
            assert!(DARK_STYLE.contains(&hex(ink).to_uppercase()), "{ink:?}");
        }
    }
}
