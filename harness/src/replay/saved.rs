//! A replay as a file: a page that opens from disk, or what other tools read.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::model::Replay;
use super::page::{PAGE, SCRIPT, STYLE, filled};
use super::{otel, shiviz};
use crate::report::render::policy;

/// The most bytes of a page that is saved.
const MOST_BYTES: usize = 299_000;

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page that draws the replay.
    Html,
    /// A log for ShiViz.
    ShiViz,
    /// Spans as OpenTelemetry's JSON.
    OpenTelemetry,
}

impl Format {
    /// By the end of a file's name.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("html") => Ok(Self::Html),
            Some("log") => Ok(Self::ShiViz),
            Some("json") => Ok(Self::OpenTelemetry),
            _ => bail!(
                "`{}` does not say what to write; end it with .html (a page that replays the run), .log (for \
                 ShiViz) or .json (OpenTelemetry)",
                path.display()
            ),
        }
    }
}

/// Replays as text of this kind. A page can have several, as parts of one story.
pub(crate) fn text(replays: &[Replay], format: Format) -> Result<String> {
    match format {
        Format::Html => page(replays),
        Format::ShiViz => {
            let logs: String = replays.iter().map(shiviz::log).collect();
            Ok(format!("{}{logs}", shiviz::HEADER))
        }
        Format::OpenTelemetry => otel::json(replays),
    }
}

/// Writes a file, whole or not at all.
pub(crate) fn save(replays: &[Replay], path: &Path) -> Result<()> {
    let text = text(replays, Format::of(path)?)?;
    crate::results::write_named(path, &text)
        .with_context(|| format!("cannot save the replay as {}", path.display()))
}

/// The data of a page. Where it would be too long, messages are left out and counted.
fn data(replays: &[Replay]) -> Result<String> {
    let mut replays = replays.to_vec();
    loop {
        let json = match replays.as_slice() {
            [one] => serde_json::to_string(one)?,
            several => serde_json::to_string(several)?,
        };
        // Inside a script element only `<` could end it.
        let json = json.replace('<', "\\u003c");
        let most = replays.iter().map(Replay::messages).max().unwrap_or(0);
        if PAGE.len() + STYLE.len() + SCRIPT.len() + json.len() <= MOST_BYTES || most < 2 {
            return Ok(json);
        }
        replays = replays.into_iter().map(|replay| replay.thinned(most * 3 / 4, usize::MAX)).collect();
    }
}

fn page(replays: &[Replay]) -> Result<String> {
    let json = data(replays)?;
    let policy = policy(STYLE, SCRIPT);
    let head = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<title>A replay</title>\n\
         <style>{STYLE}</style>"
    );
    let data = format!("<script type=\"application/json\" id=\"replay\">{json}</script>");
    Ok(filled(&head, &data, &format!("<script>{SCRIPT}</script>")))
}

#[cfg(test)]
mod tests {
    use super::super::model::{Head, ReplayEvent, ReplayWhat};
    use super::*;

    #[test]
    fn the_end_of_a_name_says_what_is_written() {
        for (name, format) in [
            ("a.html", Some(Format::Html)),
            ("A.HTML", Some(Format::Html)),
            ("dir.x/run.log", Some(Format::ShiViz)),
            ("spans.otel.json", Some(Format::OpenTelemetry)),
            ("a.htm", None),
            ("html", None),
            ("", None),
        ] {
            assert_eq!(Format::of(Path::new(name)).ok(), format, "{name}");
        }
    }

    #[test]
    fn a_page_is_never_too_long() {
        let mut replay = Replay::new(Head::default());
        for number in 0..200 {
            for lane in 0..9 {
                let event = ReplayEvent::new(number, &format!("subscriber-{lane}"), ReplayWhat::Received);
                replay.events.push(event.about_message(&number.to_string()).saying(&"<".repeat(200)));
            }
        }
        let page = text(&[replay.clone(), replay], Format::Html).expect("a page");
        assert!(page.len() <= 300_000, "{} bytes", page.len());
        assert!(page.contains("\"counted\":1"), "what is left out is counted");
    }

    #[test]
    fn what_was_typed_does_not_end_the_data() {
        let mut replay = Replay::new(Head { title: "</script><b>{{scripts}}".into(), ..Head::default() });
        replay.events.push(ReplayEvent::new(1, "a-0", ReplayWhat::Note).saying("<!--<script>"));
        let page = text(&[replay], Format::Html).expect("a page");
        assert_eq!(page.matches("</script>").count(), 2, "that of the data and that of the code");
        assert!(!page.contains("<b>") && !page.contains("<!--<"));
        let json = page.split("id=\"replay\">").nth(1).and_then(|rest| rest.split("</script>").next());
        let read: Replay = serde_json::from_str(json.expect("data")).expect("a replay");
        assert_eq!(read.head.title, "</script><b>{{scripts}}");
    }
}
