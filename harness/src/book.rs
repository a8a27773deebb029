//! Docs generator: writes the tables of the documentation between markers in its pages
//! (`<!-- labs: matrix -->` … `<!-- end -->`), from the catalog, and the page on
//! measurement pitfalls and the tables of runs under faults from what is in `results/`. A test
//! compares the pages with it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use labs::catalog::{self, ABSENT, Entry, Particular, Pattern, entries};

use crate::report::scorecard;
use crate::results::{FAULTS, FaultSet, private};
use crate::validate::pitfalls::{self, Views};

const BEGIN: &str = "<!-- labs: ";
const END: &str = "<!-- end -->";

/// The transports with their names for people, in reading order: peer to peer, then brokered.
pub const TRANSPORTS: [(&str, &str); 13] = [
    ("inproc", "in-process"),
    ("tcp", "TCP"),
    ("unix", "Unix socket"),
    ("websocket", "WebSocket"),
    ("http", "HTTP"),
    ("zeromq", "ØMQ"),
    ("redis", "Redis"),
    ("redis-stream", "Redis streams"),
    ("rabbitmq", "RabbitMQ (AMQP)"),
    ("mqtt", "MQTT"),
    ("stomp", "STOMP"),
    ("nats", "NATS"),
    ("jetstream", "JetStream"),
];

/// A pattern's name for people.
pub const fn title(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::OneWay => "one-way",
        Pattern::RequestReply => "request/reply",
        Pattern::PubSub => "publish/subscribe",
        Pattern::Pipeline => "pipeline",
        Pattern::Queue => "queue",
        Pattern::Durable => "durable subscriber",
    }
}

/// Every page that may have markers, from the project's root.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let name = folder.join(entry?.file_name());
            if root.join(&name).is_dir() {
                folders.push(name);
            } else if name.extension().is_some_and(|ending| ending == "md") {
                pages.push(name);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// A page with new text between its markers. `name` is its path from the project's root.
///
/// `root` is the folder of the project; measurements are read from `results/`.
pub fn filled(root: &Path, name: &Path, text: &str) -> Result<String> {
    let up = "../".repeat(name.components().count() - 1);
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (what, after) = after
            .split_once(" -->")
            .with_context(|| format!("{}: a marker without an end", name.display()))?;
        let (_, after) = after
            .split_once(END)
            .with_context(|| format!("{}: `{BEGIN}{what} -->` without `{END}`", name.display()))?;
        let table = table(root, what, &up).with_context(|| format!("{}", name.display()))?;
        done.push_str(&format!("{before}{BEGIN}{what} -->\n{table}{END}"));
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

/// Writes all pages anew, and the catalog's table; the names of those that changed.
pub fn write(root: &Path) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for name in pages(root)? {
        let path = root.join(&name);
        let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let new = filled(root, &name, &old)?;
        if new != old {
            fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))?;
            changed.push(name);
        }
    }
    let table = root.join(TABLE);
    let old = fs::read_to_string(&table).with_context(|| format!("cannot read {}", table.display()))?;
    let new = table_source()?;
    if new != old {
        fs::write(&table, new).with_context(|| format!("cannot write {}", table.display()))?;
        changed.push(PathBuf::from(TABLE));
    }
    Ok(changed)
}

/// The file that lists labs for builds without their transport, relative to the project's root.
pub const TABLE: &str = "labs/src/catalog/table.rs";

/// The source of [`TABLE`].
pub fn table_source() -> Result<String> {
    let missing: Vec<String> =
        entries().into_iter().filter(|lab| !lab.built_in).map(|lab| lab.name).collect();
    ensure!(missing.is_empty(), "this build lacks {}; build it with all features", missing.join(", "));
    Ok(catalog::table_source())
}

fn table(root: &Path, what: &str, up: &str) -> Result<String> {
    let labs = entries();
    let of = |keep: &dyn Fn(&&Entry) -> bool| -> Vec<Entry> { labs.iter().filter(keep).cloned().collect() };
    match what.split_once(' ') {
        None if what == "matrix" => Ok(matrix(&labs, up)),
        None if what == "count" => Ok(format!("{} labs\n", labs.len())),
        Some(("pattern", name)) => {
            let own = of(&|lab| lab.pattern.as_str() == name);
            ensure!(!own.is_empty(), "there is no pattern `{name}`");
            let absent = absent(|absent| absent.starts_with(&format!("{name}-")));
            Ok(rows(&own, up) + &absent + &under_faults(root, &own, up)?)
        }
        Some(("transport", name)) => {
            let own = of(&|lab| lab.transport == name);
            ensure!(!own.is_empty(), "there is no transport `{name}`");
            let absent = absent(|absent| absent.split_once('-').is_some_and(|(_, rest)| rest == name));
            Ok(rows(&own, up) + &absent + &under_faults(root, &own, up)?)
        }
        Some(("example", name)) => {
            let path = format!("labs/examples/{name}.rs");
            let source =
                fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
            Ok(format!("[`{path}`]({up}{path}):\n\n```rust\n{}\n```\n", source.trim_end()))
        }
        Some(("wrong-views", folder)) => {
            let folder = format!("results/{folder}/");
            Ok(pitfalls::body(&Views::read(&root.join(&folder))?, &format!("{up}{folder}")))
        }
        _ => anyhow::bail!(
            "unknown table `{what}`; there are `matrix`, `count`, `pattern NAME`, `transport NAME`, \
             `example NAME`, `wrong-views FOLDER`"
        ),
    }
}

fn link(lab: &Entry, up: &str) -> String {
    format!("[`{}`]({up}{})", lab.name, lab.source)
}

/// One row a transport, one column a pattern.
fn matrix(labs: &[Entry], up: &str) -> String {
    let mut text = String::from("| |");
    for pattern in Pattern::ALL {
        text.push_str(&format!(" [{}]({up}docs/patterns/{pattern}.md) |", title(pattern)));
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(Pattern::ALL.len()));
    text.push('\n');
    for (transport, name) in TRANSPORTS {
        text.push_str(&format!("| **[{name}]({up}docs/transports/{transport}.md)** |"));
        for pattern in Pattern::ALL {
            let own: Vec<String> = labs
                .iter()
                .filter(|lab| lab.transport == transport && lab.pattern == pattern)
                .map(|lab| link(lab, up))
                .collect();
            let cell = if own.is_empty() { "–".to_owned() } else { own.join(", ") };
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    }
    text
}

/// One row a lab, with all that its constants say.
fn rows(labs: &[Entry], up: &str) -> String {
    let mut text = String::from(
        "| lab | guarantee | when the receiver is slow | joining | particular |\n| --- | --- | --- | --- | --- |\n",
    );
    for lab in labs {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            link(lab, up),
            lab.guarantee,
            lab.overload,
            lab.join,
            if lab.particular == Particular::None { "–".to_owned() } else { lab.particular.to_string() },
        ));
    }
    text
}

/// Those rows of the newest scorecard in `results/` that these labs have, each cell with a link to its
/// evidence; nothing where it has none of them.
fn under_faults(root: &Path, labs: &[Entry], up: &str) -> Result<String> {
    let Some(newest) = fault_sets(root)?.pop() else { return Ok(String::new()) };
    let mut set = FaultSet::open(&root.join("results").join(&newest))?;
    set.runs.retain(|run| labs.iter().any(|lab| lab.name == run.lab));
    if set.runs.is_empty() {
        return Ok(String::new());
    }
    let folder = format!("{up}results/{newest}");
    let table = scorecard::table(&set, &format!("{folder}/{}", scorecard::PAGE), &format!("{up}docs"))?;
    Ok(format!(
        "\nWhat became of these guarantees when something failed ([what the words mean]({up}docs/faults.md#what-each-guarantee-covers), \
         [all labs]({folder}/scorecard.md)):\n\n{table}"
    ))
}

/// The names of the published folders in `results/` that have runs under faults, the newest last.
///
/// # Errors
/// When `results/` cannot be read.
pub fn fault_sets(root: &Path) -> Result<Vec<String>> {
    let results = root.join("results");
    let mut found = Vec::new();
    for entry in fs::read_dir(&results).with_context(|| format!("cannot read {}", results.display()))? {
        let entry = entry?;
        if entry.path().join(FAULTS).exists() && !private::is_private(&entry.path()) {
            found.extend(entry.file_name().into_string());
        }
    }
    found.sort();
    Ok(found)
}

/// The reasons why these labs do not exist.
fn absent(keep: impl Fn(&str) -> bool) -> String {
    let own = ABSENT.iter().filter(|(name, _)| keep(name));
    let lines: String = own.map(|(name, why)| format!("- no `{name}`: {why}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_published_sets_of_faults_are_shown() -> Result<()> {
        let root = tempfile::tempdir()?;
        let results = root.path().join("results");
        for (name, file, ignored) in [
            ("2026-01-02-vm-faults", FAULTS, false),
            ("2026-01-01-vm-faults", FAULTS, false),
            ("2026-01-03-mine-faults", FAULTS, true),
            ("2026-01-04-vm-quick", "run.json", false),
        ] {
            fs::create_dir_all(results.join(name))?;
            fs::write(results.join(name).join(file), "")?;
            if ignored {
                fs::write(results.join(name).join(".gitignore"), "*\n")?;
            }
        }
        assert_eq!(fault_sets(root.path())?, ["2026-01-01-vm-faults", "2026-01-02-vm-faults"]);
        Ok(())
    }
}
