//! Reports of the verdict: Markdown for people, annotations for code hosts, JUnit XML for
//! CI services. Programs read `regress.json`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::measures::Measure;
use super::outcome::{Gate, Outcome, Ratio, Verdict};
use super::record::{Program, Record, write};
use super::verdict::percent;

/// Writes `regress.json`, `README.md` and `junit.xml` into `out`.
///
/// # Errors
/// When a file cannot be written; it is named.
pub fn save(record: &Record, verdict: &Verdict, out: &Path) -> Result<()> {
    write(out, "regress.json", &serde_json::to_string(record)?)?;
    write(out, "README.md", &markdown(record, verdict))?;
    write(out, "junit.xml", &junit(record, verdict))
}

/// The summary for people.
pub fn markdown(record: &Record, verdict: &Verdict) -> String {
    let mut text =
        format!("# Head against base: {}\n\n{}.\n\n", verdict.outcome.as_str(), prose(&verdict.why));
    text += "| lab | measure | base | head | head / base | base / base | p of all | outcome |\n";
    text += "| --- | --- | ---: | ---: | --- | --- | ---: | --- |\n";
    for gate in &verdict.gates {
        let outcome = gate.outcome.map_or("", Outcome::as_str);
        let mark = if gate.outcome == Some(Outcome::Regressed) { "**" } else { "" };
        let _ = writeln!(
            text,
            "{} {} | {mark}{outcome}{mark}: {} |",
            row(gate),
            gate.p_of_all.map_or_else(String::new, |p| format!("{p:.3}")),
            gate.why
        );
    }
    text += "\nIntervals: each end holds with 99 % confidence. *p of all*: the probability of such evidence \
             in at least one gate if head is not slower in any of them.\n";
    if !verdict.reported.is_empty() {
        text += "\n## Reported only, without a verdict\n\n\
                 | lab | measure | base | head | head / base | base / base |\n\
                 | --- | --- | ---: | ---: | --- | --- |\n";
        for gate in &verdict.reported {
            let _ = writeln!(text, "{}", row(gate).trim_end());
        }
    }
    text += "\n## How it was measured\n\n";
    let plan = &record.plan;
    for (role, program) in [("base", &record.base), ("head", &record.head)] {
        let _ = writeln!(text, "- {role}: {}", self::program(program));
    }
    let host = &record.host;
    let knobs =
        |knobs: &[String]| if knobs.is_empty() { "none".to_owned() } else { prose(&knobs.join(", ")) };
    let _ = writeln!(
        text,
        "- {} rounds of {}, {} s after {} s of warm-up, {} B; seed {}; {:.0} s in all\n\
         - minimum effect {:.1} %; knobs of both: {}; of head besides: {}\n\
         - {}, {} × {}, {}; before the first round, other programs used {:.0} % of its CPU time\n\
         - began {}",
        record.rounds.len(),
        plan.labs
            .iter()
            .map(|lab| format!("{lab} at {}/s", plan.rates.get(lab).unwrap_or(&super::RATE)))
            .collect::<Vec<_>>()
            .join(", "),
        plan.seconds,
        plan.warmup_s,
        plan.size,
        plan.seed,
        record.took_s,
        plan.min_effect * 100.0,
        knobs(&plan.knobs),
        knobs(&plan.head_knobs),
        host.name,
        host.cores,
        host.cpu,
        host.kernel,
        record.noise.foreign_cpu * 100.0,
        record.created,
    );
    for (broker, version) in &record.brokers {
        let _ = writeln!(text, "- {broker} {version}, shared by base and head, a new one in each round");
    }
    for skip in &record.skipped {
        let _ = writeln!(text, "- skipped {}: {}", skip.lab, prose(&skip.reason));
    }
    let failures: Vec<_> = record
        .rounds
        .iter()
        .flat_map(|round| round.samples.iter().map(move |sample| (round.index, sample)))
        .filter_map(|(round, sample)| Some((round, sample, sample.failed.as_ref()?)))
        .collect();
    for (round, sample, reason) in failures {
        let _ = writeln!(text, "- round {round}, {:?}, {} failed: {}", sample.arm, sample.lab, prose(reason));
    }
    text
}

fn row(gate: &Gate) -> String {
    let Gate { lab, measure, base, head, ratio, control, .. } = gate;
    format!(
        "| {lab} | {} | {} | {} | {} | {} |",
        measure.title(),
        measure.show(*base),
        measure.show(*head),
        interval(ratio),
        interval(control),
    )
}

/// `+4.1 % (+1.0 % … +7.3 %)`
fn interval(ratio: &Ratio) -> String {
    match (ratio.low, ratio.high) {
        (Some(low), Some(high)) => {
            format!("{} ({} … {})", percent(ratio.estimate), percent(low), percent(high))
        }
        _ => percent(ratio.estimate),
    }
}

fn program(program: &Program) -> String {
    format!(
        "{}, revision {}, {}, SHA-256 {}…",
        prose(&program.asked),
        program.git.as_deref().unwrap_or("unknown"),
        program.rustc,
        program.sha256.chars().take(12).collect::<String>()
    )
}

/// One line of text in which Markdown sees no marks.
fn prose(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Workflow commands as GitHub reads them from a step's output: an error for
/// what regressed, a warning for what cannot tell, a notice for a good end.
pub fn annotations(verdict: &Verdict) -> Vec<String> {
    let line = |kind: &str, title: &str, text: &str| {
        // A property may hold neither comma nor colon, a message no line break.
        let message = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let title = message(title).replace(':', "%3A").replace(',', "%2C");
        format!("::{kind} title={title}::{}", message(text))
    };
    let mut lines: Vec<String> =
        verdict.broken.iter().map(|broken| line("error", "Head is broken", broken)).collect();
    for gate in &verdict.gates {
        let text = format!("{} of {}: {}", gate.measure.title(), gate.lab, gate.why);
        match gate.outcome {
            Some(Outcome::Regressed) => lines.push(line("error", "Slower than base", &text)),
            Some(Outcome::CannotTell) => lines.push(line("warning", "Cannot tell", &text)),
            Some(Outcome::Fine) | None => {}
        }
    }
    if verdict.outcome == Outcome::Fine {
        lines.push(line("notice", "No regression", &verdict.why));
    }
    lines
}

/// JUnit XML: a test case a gate. A regression is a failure; a gate that cannot tell is an
/// error, so that no service shows it green.
pub fn junit(record: &Record, verdict: &Verdict) -> String {
    let count = |outcome| verdict.gates.iter().filter(|gate| gate.outcome == Some(outcome)).count();
    let head = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\"",
        verdict.gates.len() + verdict.broken.len(),
        count(Outcome::Regressed) + verdict.broken.len(),
        count(Outcome::CannotTell),
        record.took_s
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {head}>\n  \
         <testsuite name=\"lab regress\" timestamp=\"{}\" {head}>\n",
        xml(&record.created)
    );
    for gate in &verdict.gates {
        let case = format!("classname=\"{}\" name=\"{}\"", xml(&gate.lab), xml(gate.measure.title()));
        let why = xml(&gate.why);
        let _ = match gate.outcome {
            Some(Outcome::Regressed) => {
                writeln!(text, "    <testcase {case}><failure message=\"{why}\"/></testcase>")
            }
            Some(Outcome::CannotTell) => {
                writeln!(text, "    <testcase {case}><error message=\"cannot tell: {why}\"/></testcase>")
            }
            Some(Outcome::Fine) | None => {
                writeln!(text, "    <testcase {case}><system-out>{why}</system-out></testcase>")
            }
        };
    }
    for broken in &verdict.broken {
        let _ = writeln!(
            text,
            "    <testcase classname=\"head\" name=\"promises\"><failure message=\"{}\"/></testcase>",
            xml(broken)
        );
    }
    text + "  </testsuite>\n</testsuites>\n"
}

/// Text within XML. Control characters cannot stand in it at all.
fn xml(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The table for a terminal: what decides, and the outcome of each.
pub fn lines(verdict: &Verdict) -> Vec<[String; 7]> {
    let line = |gate: &Gate| {
        let measure: Measure = gate.measure;
        [
            gate.lab.clone(),
            measure.title().to_owned(),
            measure.show(gate.base),
            measure.show(gate.head),
            interval(&gate.ratio),
            interval(&gate.control),
            match gate.outcome {
                Some(outcome) => format!("{}: {}", outcome.as_str(), gate.why),
                None => String::new(),
            },
        ]
    };
    verdict.gates.iter().map(line).collect()
}
