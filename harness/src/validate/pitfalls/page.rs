//! The text on each pitfall, for the README of a folder and for the docs.

use super::model::{Figure, Unit, View, Views};
use crate::report::number;

/// The text on a pitfall: its heading, the habit, and why it is wrong.
struct Words {
    name: &'static str,
    title: &'static str,
    habit: &'static str,
    why: &'static str,
}

const WORDS: [Words; 6] = [
    Words {
        name: "closed-loop",
        title: "A closed loop",
        habit: "The client sends, waits for the answer, sends the next message, and measures from its own \
                send. wrk does this, and most hand-written loops do.",
        why: "While the broker is paused, such a client has one message in flight, so one message is slow. \
              The messages that users would have sent during the pause are missing from its data. Gil Tene \
              named this coordinated omission.",
    },
    Words {
        name: "millisecond-clock",
        title: "A clock of milliseconds",
        habit: "Times are taken in whole milliseconds and zeros are dropped. The OpenMessaging Benchmark \
                does this for its end-to-end latency.",
        why: "A message that takes 0.1 ms is dropped nine times of ten and counts as 1 ms the tenth time. \
              The median is that of the few remaining samples.",
    },
    Words {
        name: "averaged-percentiles",
        title: "Averaged percentiles",
        habit: "A dashboard keeps the p99 of each second, or of each instance, and shows their mean.",
        why: "A mean of percentiles is not a percentile: a bad second counts as one of many, however many \
              messages it had. Histograms can be merged; percentiles cannot.",
    },
    Words {
        name: "one-sample-a-batch",
        title: "One sample a batch",
        habit: "The clock is read once for all messages that are sent or received together. natscli and \
                iggy's bench do this.",
        why: "Messages arrive together after something was slow. Hundreds of messages that waited become a \
              few samples, and the last message of a batch has waited the least.",
    },
    Words {
        name: "single-run",
        title: "A single run",
        habit: "The p99 of one run is reported as the p99 of the system.",
        why: "Nothing was changed between these runs, each with a new broker, and their results differ. A \
              smaller difference between two systems means nothing.",
    },
    Words {
        name: "senders-rate",
        title: "The sender's rate",
        habit: "The number of messages handed to the client, divided by the time, is reported as throughput.",
        why: "A client may accept messages and drop them later or buffer them, and a broker may queue them. \
              Throughput is what receivers receive, so it must be counted there.",
    },
];

fn words(view: &View) -> Option<&'static Words> {
    WORDS.iter().find(|words| words.name == view.name)
}

/// The figure as people read it.
pub(super) fn shown(figure: &Figure) -> String {
    match figure.unit {
        Unit::Ns => number::time(figure.value as f64),
        Unit::PerSecond => format!("{}/s", number::count(figure.value)),
        Unit::Messages => number::count(figure.value),
    }
}

/// `4 880 times too low`; `none` if there is no error.
pub(super) fn off(view: &View) -> String {
    if view.factor < 1.005 {
        return "none".to_owned();
    }
    let times = match view.factor {
        factor if factor < 10.0 => format!("{factor:.2}"),
        factor if factor < 100.0 => format!("{factor:.1}"),
        factor => number::count(factor as u64),
    };
    format!("{times} times too {}", if view.wrong.value < view.truth.value { "low" } else { "high" })
}

/// The heading of a view.
pub(super) fn title(view: &View) -> &str {
    words(view).map_or(view.name.as_str(), |words| words.title)
}

/// A table of all pitfalls, then each with its figures and its plot. `folder` is where the
/// pictures are, seen from the page.
pub fn body(views: &Views, folder: &str) -> String {
    let made = &views.made;
    let (rate, pause) = (number::rate(made.rate), made.pause);
    let mut text = format!(
        "`{}`, {} B, {rate} messages a second for {} s, the broker paused from {} s to {} s, on {} ({}), \
         {}.\n\n| pitfall | figure | reported | actual | error |\n| --- | --- | ---: | ---: | --- |\n",
        made.lab,
        made.size,
        made.open.seconds,
        pause.at_s,
        pause.at_s + pause.for_s,
        made.host.name,
        made.host.cpu,
        made.created.split('T').next().unwrap_or_default(),
    );
    for [title, measure, wrong, truth, off] in views.rows() {
        text.push_str(&format!("| {title} | {measure} | {wrong} | **{truth}** | {off} |\n"));
    }
    text.push_str(&format!("\n![The event, message by message]({folder}the-event.svg)\n"));
    for view in &views.views {
        text.push_str(&section(view, folder));
    }
    text.push_str(&format!(
        "\nThe last pitfall was measured over `{}`, with a sender without a window, for {} s.\n",
        made.flood.lab, made.flood.seconds
    ));
    text
}

fn section(view: &View, folder: &str) -> String {
    let mut text = format!("\n## {}\n\n", title(view));
    if let Some(words) = words(view) {
        text.push_str(&format!("{} {}\n\n", words.habit, words.why));
    }
    text.push_str(&format!("| {} | |\n| --- | ---: |\n", view.measure));
    text.push_str(&format!("| reported: {} | {} |\n", view.wrong.what, shown(&view.wrong)));
    text.push_str(&format!("| **actual: {}** | **{}** |\n", view.truth.what, shown(&view.truth)));
    for figure in &view.more {
        text.push_str(&format!("| {} | {} |\n", figure.what, shown(figure)));
    }
    text.push_str(&format!("\n![{}]({folder}{}.svg)\n", title(view), view.name));
    text
}

impl Views {
    /// The rows of the table: pitfall, figure, reported value, actual value, error.
    pub fn rows(&self) -> Vec<[String; 5]> {
        let row = |view: &View| {
            let (wrong, truth) = (shown(&view.wrong), shown(&view.truth));
            [title(view).to_owned(), view.measure.clone(), wrong, truth, off(view)]
        };
        self.views.iter().map(row).collect()
    }

    /// The README of a folder.
    pub fn readme(&self) -> String {
        readme(self)
    }
}

fn readme(views: &Views) -> String {
    let files = std::iter::once(&views.made.open)
        .chain([&views.made.closed])
        .chain(&views.made.runs)
        .map(|trial| format!("[`{0}`]({0})", trial.file));
    format!(
        "# Six wrong views of one event\n\n{}\n## The recordings\n\n\
         {}: every message with the times it was due, sent and received, in ns from the common start, \
         warm-up included. [`views.json`](views.json) has the figures above and how all this was made; \
         `{}` computes it from the recordings again.\n",
        body(views, ""),
        files.collect::<Vec<_>>().join(", "),
        crate::hint::command(&["wrong-views", "--redraw", "DIR"]),
    )
}
