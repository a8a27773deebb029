//! `lab watch`: checks a program whenever it is saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use clap::Args;
use tokio::io::AsyncBufReadExt as _;

use super::check::{Subject, judge};
use super::{Place, named_or_next, take_hint};
use crate::command::interruptible;
use crate::command::random;
use crate::course::exercise::Exercise;
use crate::course::start;
use crate::course::workspace::Language;
use crate::process::guard;
use crate::roles;

/// How often the files are looked at. File events do not arrive everywhere: not from a network folder,
/// not from the other side of a virtual machine.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The exercise; default: the first that you have not passed
    exercise: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn main(args: &WatchArgs) -> Result<ExitCode> {
    let workspace = args.place.workspace();
    let exercise = named_or_next(args.exercise.as_deref(), &workspace)?;
    let language = args.place.written(exercise)?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, interruptible(watch(&args.place, exercise, language)));
    drop(local);
    runtime.shutdown_background();
    match done {
        // Ctrl-C is how it ends.
        None => Ok(ExitCode::SUCCESS),
        Some(done) => done.map(|()| ExitCode::SUCCESS),
    }
}

async fn watch(place: &Place, exercise: &'static Exercise, language: Language) -> Result<()> {
    let workspace = place.workspace();
    let folder = workspace.folder.join(language.name());
    let mut typed = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut listens = true;
    let mut before = BTreeMap::new();
    loop {
        let now = saved(&folder);
        if now != before {
            before = now;
            // A save ends the check of what is not there any more, also its search.
            tokio::select! {
                biased;
                checked = check(place, exercise, language) => checked?,
                () = changed(&folder, &before) => {
                    outln!("\nsaved: checking again")?;
                    continue;
                }
            }
            outln!(
                "\nwatching {}; save it to check it again. h and Enter: a hint, q and Enter: quit",
                folder.display()
            )?;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            line = typed.next_line(), if listens => match line.ok().flatten().as_deref().map(str::trim) {
                Some("h") => hint(place, exercise)?,
                Some("q") => return Ok(()),
                Some(_) => {}
                // Nobody types here.
                None => listens = false,
            },
        }
    }
}

/// Waits until a file has changed.
async fn changed(folder: &Path, before: &BTreeMap<PathBuf, (Option<SystemTime>, u64)>) {
    while saved(folder) == *before {
        tokio::time::sleep(LOOK).await;
    }
}

async fn check(place: &Place, exercise: &'static Exercise, language: Language) -> Result<()> {
    let words = match start::words(&place.workspace(), exercise, language) {
        Ok(words) => words,
        Err(error) => {
            outln!("{error:#}")?;
            return Ok(());
        }
    };
    let subject = Subject {
        exercise,
        place,
        words,
        language: Some(language),
        program: None,
        json: false,
        no_shrink: false,
    };
    judge(&subject, u64::from(random() % 100_000)).await.map(drop)
}

fn hint(place: &Place, exercise: &Exercise) -> Result<()> {
    let (number, all, text) = take_hint(&place.workspace(), exercise)?;
    outln!("\nhint {number} of {all}: {text}")?;
    Ok(())
}

/// When each source file was saved, and its length. Two saves within one tick of the clock differ in
/// length or come again with the next look.
fn saved(folder: &Path) -> BTreeMap<PathBuf, (Option<SystemTime>, u64)> {
    let folders = [folder.to_owned(), folder.join("src"), folder.join("src/bin")];
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            [".py", ".rs", ".mjs"].iter().any(|extension| name.to_string_lossy().ends_with(extension))
        })
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((entry.path(), (about.modified().ok(), about.len())))
        })
        .collect()
}
