//! The views in words, for the README of a folder and for the book.

use super::model::{Figure, Unit, View, Views};
use crate::report::number;

/// What is said of a view: its heading, the habit, and why it is wrong.
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
        habit: "The client sends, waits for the answer, sends the next, and counts from its own send, as wrk \
                does and most loops that people write themselves.",
        why: "While the broker stands still, such a client has one message on its way, so one message is \
              slow; what users would have sent meanwhile is not in its list (coordinated omission, as Gil \
              Tene named it).",
    },
    Words {
        name: "millisecond-clock",
        title: "A clock of milliseconds",
        habit: "Times are taken in whole milliseconds and what comes out as zero is dropped, as the \
                OpenMessaging Benchmark does for its end-to-end latency.",
        why: "What takes a tenth of a millisecond is dropped nine times of ten and is 1 ms the tenth time; \
              the median is that of the few that are left.",
    },
    Words {
        name: "averaged-percentiles",
        title: "Averaged percentiles",
        habit: "A dashboard keeps the p99 of each second, or of each instance, and shows their mean.",
        why: "The mean of percentiles is the percentile of nothing: a bad second counts as one of many, \
              whatever came in it. Histograms can be merged; percentiles cannot.",
    },
    Words {
        name: "one-sample-a-batch",
        title: "One sample a batch",
        habit: "The clock is read once for all messages that came or went together, as natscli and iggy's \
                bench do.",
        why: "Messages come together when something was slow: hundreds that waited make a handful of \
              samples, and the last of a batch has waited the least.",
    },
    Words {
        name: "single-run",
        title: "A single run",
        habit: "One run is made, and its p99 is what the system's p99 is said to be.",
        why: "Nothing was changed between these runs, each over a broker of its own, and no two agree; \
              a difference between two systems that is smaller than theirs is none.",
    },
    Words {
        name: "senders-rate",
        title: "The sender's rate",
        habit: "Messages handed to the client are counted, divided by the time, and called throughput.",
        why: "A client may take what it drops later or keep it in a buffer, and a broker may pile it up. What was not received was \
              not moved, and what was received counts at the receiver.",
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

/// `4 880 times too low`; a view that is as good as right says so.
pub(super) fn off(view: &View) -> String {
    if view.factor < 1.005 {
        return "as it is".to_owned();
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

/// A table of all views, then each with its figures and its picture. `folder` is
/// where the pictures are, seen from the page.
pub fn body(views: &Views, folder: &str) -> String {
    let made = &views.made;
    let (rate, pause) = (number::rate(made.rate), made.pause);
    let mut text = format!(
        "`{}`, {} B, {rate} messages a second for {} s, the broker stopped from {} s to {} s, on {} ({}), {}.\n\n\
         | view | figure | it says | it is | so it is |\n| --- | --- | ---: | ---: | --- |\n",
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
        "\nThe flood of the last view went over `{}` for {} s.\n",
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
    text.push_str(&format!("| it says: {} | {} |\n", view.wrong.what, shown(&view.wrong)));
    text.push_str(&format!("| **it is: {}** | **{}** |\n", view.truth.what, shown(&view.truth)));
    for figure in &view.more {
        text.push_str(&format!("| {} | {} |\n", figure.what, shown(figure)));
    }
    text.push_str(&format!("\n![{}]({folder}{}.svg)\n", title(view), view.name));
    text
}

impl Views {
    /// The table: view, figure, what it says, what is so, and how far off that is.
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
        .map(|take| format!("[`{0}`]({0})", take.file));
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
