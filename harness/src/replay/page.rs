//! The page that draws replays: what it is made of.

/// The parts of its script, in their order, as one script.
pub(crate) const SCRIPT: &str = concat!(
    include_str!("page/model.js"),
    include_str!("page/time.js"),
    include_str!("page/shapes.js"),
    include_str!("page/flow.js"),
    include_str!("page/spacetime.js"),
    include_str!("page/side.js"),
    include_str!("page/player.js"),
    include_str!("page/live.js"),
    include_str!("page/main.js"),
);
/// Its style.
pub(crate) const STYLE: &str = include_str!("page/view.css");
/// Its markup, with places for the head, the data and the scripts.
pub(super) const PAGE: &str = include_str!("page/page.html");
/// The head of the page that a server serves: files of its own.
#[cfg(feature = "apps")]
pub(crate) const LIVE: fn() -> String = live;

#[cfg(feature = "apps")]
fn live() -> String {
    filled(
        "<title>A running lab</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/view.css\">",
        "",
        "<script src=\"/view.js\" defer></script>",
    )
}

/// The page with its places filled.
pub(super) fn filled(head: &str, data: &str, scripts: &str) -> String {
    // The data comes last: it may hold what looks like a place.
    PAGE.replace("{{head}}", head).replace("{{scripts}}", scripts).replace("{{data}}", data)
}
