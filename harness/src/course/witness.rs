//! The witness of a broken check as a sequence diagram: in the terminal, and as SVG.

use std::fmt::Write as _;

use labs::printable::printable;
use serde::{Deserialize, Serialize};

use super::history::{Event, Fields, History, What, text};
use crate::replay::{Head, Lane, Lanes, Replay, ReplayEvent, ReplayWhat, Side};

/// Most rows of a diagram; those in the middle are left out beyond that.
const ROWS: usize = 60;
/// The longest text of a row, characters.
const TEXT: usize = 64;
/// Width of a lane in the terminal, characters.
const LANE: usize = 13;
/// Commands that say nothing about messages.
const PLUMBING: [&str; 14] = [
    "HELLO", "CLIENT", "PING", "ECHO", "MONITOR", "SELECT", "INFO", "COMMAND", "AUTH", "QUIT", "TTL",
    "EXISTS", "LLEN", "TYPE",
];

/// One row: a message from one lane to another, or something that happens at one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Milliseconds since the run began.
    pub(crate) ms: u64,
    pub(crate) from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    pub(crate) text: String,
}

/// A sequence diagram.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Diagram {
    pub(crate) lanes: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// The checker, as a lane.
const CHECKER: &str = "checker";
const REDIS: &str = "redis";
const SINK: &str = "sink";

impl Diagram {
    /// The diagram of a record. `name` is the run's own name in the broker, which is left out.
    pub(crate) fn of(history: &History) -> Self {
        let programs = history.0.iter().filter_map(|event| match event.what {
            What::Told { program, .. } => Some(program + 1),
            _ => None,
        });
        let programs = programs.max().unwrap_or(1);
        let name = history.0.iter().find_map(|event| match &event.what {
            What::Told { kind: "init", fields, .. } => Some(text(fields, "name").to_owned()),
            _ => None,
        });
        let name = name.unwrap_or_default();
        let program =
            |number: usize| if programs == 1 { "program".to_owned() } else { format!("program {number}") };
        let mut rows: Vec<Row> = Vec::new();
        for event in &history.0 {
            let Some(mut row) = row(event, &program, programs) else { continue };
            row.text = short(&row.text.replace(&format!("{name}:"), ""));
            let same =
                |last: &&mut Row| last.from == row.from && last.to == row.to && base(&last.text) == row.text;
            match rows.last_mut().filter(same) {
                Some(last) => {
                    let times =
                        last.text.rsplit_once(" ×").and_then(|(_, times)| times.parse().ok()).unwrap_or(1);
                    last.text = format!("{} ×{}", row.text, times + 1);
                }
                None => rows.push(row),
            }
        }
        if rows.len() > ROWS {
            let left_out = rows.len() - ROWS;
            let about = Row {
                ms: rows[ROWS / 2].ms,
                from: CHECKER.to_owned(),
                to: None,
                text: format!("… {left_out} rows are left out …"),
            };
            rows.splice(ROWS / 2..ROWS / 2 + left_out, [about]);
        }
        let mut lanes = vec![CHECKER.to_owned()];
        lanes.extend((0..programs).map(program));
        for lane in [REDIS, SINK] {
            if rows.iter().any(|row| row.from == lane || row.to.as_deref() == Some(lane)) {
                lanes.push(lane.to_owned());
            }
        }
        Self { lanes, rows }
    }

    fn lane(&self, name: &str) -> usize {
        self.lanes.iter().position(|lane| lane == name).unwrap_or(0)
    }

    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let lanes = Lanes::new(self.lanes.clone(), LANE);
        let mut out = format!("{:9}{}", "", lanes.head()).trim_end().to_owned();
        for row in &self.rows {
            let line = lanes.row(&row.from, row.to.as_deref(), '●');
            let _ = write!(out, "\n{:>6} ms {line} {}", row.ms, row.text);
        }
        out
    }

    /// As a page that replays it: each arrow is a message.
    pub(crate) fn replay(&self, title: &str, exercise: &str, command: &str) -> Replay {
        let (title, lab, command) = (title.to_owned(), exercise.to_owned(), command.to_owned());
        let mut replay = Replay::new(Head { title, lab, command, ..Head::default() });
        for lane in &self.lanes {
            let place = match lane.as_str() {
                CHECKER => Side::From,
                REDIS => Side::Middle,
                _ => Side::To,
            };
            let kind = if lane == REDIS { "broker" } else { lane };
            replay.lane(Lane { name: lane.clone(), kind: kind.to_owned(), place });
            replay.events.push(ReplayEvent::new(0, lane, ReplayWhat::Joined));
        }
        for (number, row) in self.rows.iter().enumerate() {
            let at = row.ms * 1_000_000;
            let Some(to) = &row.to else {
                replay.events.push(ReplayEvent::new(at, &row.from, ReplayWhat::Note).saying(&row.text));
                continue;
            };
            let message = (number + 1).to_string();
            let event = |lane: &str, what| ReplayEvent::new(at, lane, what).about_message(&message);
            replay.events.push(event(&row.from, ReplayWhat::Sent).saying(&row.text));
            replay.events.push(event(to, ReplayWhat::Received));
        }
        replay
    }

    /// As a picture.
    pub(crate) fn svg(&self, title: &str) -> String {
        const STEP: usize = 22;
        const WIDE: usize = 130;
        let (left, top) = (80, 70);
        let height = top + self.rows.len() * STEP + 30;
        let lanes_end = left + self.lanes.len() * WIDE;
        let width = lanes_end + 480;
        let x = |lane: usize| left + lane * WIDE + WIDE / 2;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<title>{0}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"24\" font-size=\"15\">{0}</text>\n",
            escaped(title)
        );
        for (number, lane) in self.lanes.iter().enumerate() {
            let x = x(number);
            let _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"52\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>",
                escaped(lane)
            );
            let _ = writeln!(
                out,
                "<line x1=\"{x}\" y1=\"60\" x2=\"{x}\" y2=\"{}\" stroke=\"#bbb\"/>",
                height - 16
            );
        }
        for (number, row) in self.rows.iter().enumerate() {
            let y = top + number * STEP + STEP / 2;
            let from = x(self.lane(&row.from));
            let _ = writeln!(
                out,
                "<text x=\"72\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{} ms</text>",
                y + 4,
                row.ms
            );
            match &row.to {
                Some(to) => {
                    let to = x(self.lane(to));
                    let back = if to > from { -7_i64 } else { 7 };
                    let tip = to as i64;
                    let _ = writeln!(
                        out,
                        "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"#0072b2\" stroke-width=\"1.5\"/>"
                    );
                    let _ = writeln!(out, "<path d=\"M{tip} {y}l{back} -4v8z\" fill=\"#0072b2\"/>");
                }
                None => {
                    let _ = writeln!(out, "<circle cx=\"{from}\" cy=\"{y}\" r=\"4\" fill=\"#d55e00\"/>");
                }
            }
            let _ =
                writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", lanes_end + 8, y + 4, escaped(&row.text));
        }
        out.push_str("</svg>\n");
        out
    }
}

fn row(event: &Event, program: &dyn Fn(usize) -> String, programs: usize) -> Option<Row> {
    let ms = event.at.as_millis() as u64;
    let arrow = |from: String, to: &str, text: String| Some(Row { ms, from, to: Some(to.to_owned()), text });
    let at = |from: String, text: String| Some(Row { ms, from, to: None, text });
    match &event.what {
        What::Phase(_) => None,
        What::Did(text) => at(CHECKER.to_owned(), format!("the checker {text}")),
        What::Told { program: number, kind, fields } => {
            let text = match *kind {
                "init" => format!("init, role {}", text(fields, "role")),
                kind => format!("{kind} {}", said(fields)),
            };
            arrow(CHECKER.to_owned(), &program(*number), text)
        }
        What::Said { program: number, kind, fields } => {
            arrow(program(*number), CHECKER, format!("{kind} {}", said(fields)))
        }
        What::Effect { program: number, key, body, .. } => {
            arrow(program(*number), SINK, format!("effect {key} {body}"))
        }
        What::Answered { program: number, accepted, .. } => {
            let text = if *accepted { "ok: the effect is done" } else { "fail: the effect is refused" };
            arrow(SINK.to_owned(), &program(*number), text.to_owned())
        }
        What::Command { words, own } => {
            let plumbing = words.first().is_none_or(|name| PLUMBING.contains(&name.as_str()));
            let looks = *own
                && words.first().is_some_and(|name| {
                    ["LRANGE", "XRANGE", "XPENDING", "BLPOP", "LPOP", "KEYS", "XINFO", "PUBSUB"]
                        .contains(&name.as_str())
                });
            if plumbing || looks {
                return None;
            }
            let text = words.join(" ");
            match (own, programs) {
                (true, _) => arrow(CHECKER.to_owned(), REDIS, text),
                (false, 1) => arrow(program(0), REDIS, text),
                // The proxy hides which program it was.
                (false, _) => at(REDIS.to_owned(), format!("a program: {text}")),
            }
        }
        What::Frame { own, body, .. } => match own {
            true => arrow(CHECKER.to_owned(), &program(0), format!("frame {body}")),
            false => arrow(program(0), CHECKER, format!("frame {body}")),
        },
        What::Opened => arrow(program(0), CHECKER, "connects".to_owned()),
        What::Closed => at(program(0), "the connection ends".to_owned()),
        What::Left { program: number, how } => at(program(*number), format!("ends ({how})")),
    }
}

/// The fields of a control line, for readers.
fn said(fields: &Fields) -> String {
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let words = fields.iter().map(|(name, field)| format!("{name}={}", value(field)));
    words.collect::<Vec<_>>().join(" ")
}

/// A text without the count of its repetitions.
fn base(text: &str) -> &str {
    text.rsplit_once(" ×").map_or(text, |(text, _)| text)
}

fn short(text: &str) -> String {
    let text = printable(text.trim_end()).to_string();
    if text.chars().count() <= TEXT {
        return text;
    }
    text.chars().take(TEXT - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn history() -> History {
        let fields = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect::<Fields>()
        };
        let init = fields(&[("role", "worker"), ("name", "ex-1")]);
        let command = |words: &[&str], own| What::Command {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            own,
        };
        let what = [
            What::Told { program: 0, kind: "init", fields: init },
            What::Said { program: 0, kind: "ready".to_owned(), fields: Fields::new() },
            command(&["HELLO", "3"], false),
            command(&["XREADGROUP", "ex-1:tasks", ">"], false),
            command(&["XREADGROUP", "ex-1:tasks", ">"], false),
            command(&["XADD", "ex-1:tasks", "*", "body", "<b>&"], true),
            What::Effect { program: 0, number: 0, key: "1-0".to_owned(), body: "<b>&".to_owned() },
            What::Did("kills program 0 (kill -9)".to_owned()),
            What::Left { program: 0, how: "signal: 9 (SIGKILL)".to_owned() },
        ];
        let event = |(number, what)| Event { at: Duration::from_millis(10 * number as u64), what };
        History(what.into_iter().enumerate().map(event).collect())
    }

    #[test]
    fn a_run_is_drawn() {
        insta::assert_snapshot!(Diagram::of(&history()).text());
    }

    #[test]
    fn each_arrow_is_a_message_of_the_replay() {
        let diagram = Diagram::of(&history());
        let replay = diagram.replay("late", "late-joiner", "lab check late-joiner --seed 7");
        let of = |what| replay.events.iter().filter(|event| event.what == what).count();
        let arrows = diagram.rows.iter().filter(|row| row.to.is_some()).count();
        assert_eq!((of(ReplayWhat::Sent), of(ReplayWhat::Received)), (arrows, arrows));
        assert_eq!(of(ReplayWhat::Note), diagram.rows.len() - arrows);
        assert!(replay.lanes.iter().any(|lane| lane.kind == "broker"));
    }

    #[test]
    fn what_was_typed_is_never_markup() {
        let svg = Diagram::of(&history()).svg("a < b & \"c\"");
        assert!(svg.contains("&lt;b&gt;&amp;") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("<title>a &lt; b &amp; &quot;c&quot;</title>"), "{svg}");
    }

    #[test]
    fn long_runs_are_cut_in_the_middle() {
        let mut history = history();
        let again = history.0.clone();
        for _ in 0..30 {
            history.0.extend(again.clone());
        }
        let diagram = Diagram::of(&history);
        assert_eq!(diagram.rows.len(), ROWS + 1);
        assert!(diagram.text().contains("rows are left out"));
    }
}
