//! `lab dead`: the dead letters of a queue. It lists them, shows one, returns them to the queue, or
//! discards them.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use labs::catalog::Pattern;
use labs::erased::AnyDeadLetters;
use labs::lab::{BrokerAddress, Directory, Guarantee, Place};
use labs::printable::{printable, printable_bytes};
use labs::queue::{DeadLetter, DeadLetters as _};
use serde_json::json;

use super::place::place_name;
use crate::broker::{self, Choice};
use crate::command::{BrokerArgs, Given, Usage, interruptible, lab};
use crate::process::guard;
use crate::roles::{self, Handle, MessageText};
use crate::{hint, plan};

/// As many are looked at as there can be.
const ALL: usize = 1_000_000;
/// Characters of a body in the list.
const SHOWN: usize = 60;

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// List them, the oldest first
    List,
    /// Print the one with this id
    Show,
    /// Return them to the tail of the queue; their attempts begin again
    Return,
    /// Remove them for good
    Discard,
}

#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// The queue lab, as in `queue-redis`
    lab: String,
    /// What to do
    #[arg(value_enum, default_value = "list")]
    action: Action,
    /// Dead letters, by the id that the list shows
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Return or discard every dead letter
    #[arg(long)]
    all: bool,
    /// With `show`: write the body as it is, and nothing else
    #[arg(long)]
    raw: bool,
    /// Where the queue is: what `lab play` shows in the first terminal
    #[arg(long, value_name = "ADDRESS")]
    at: Vec<Given>,
    /// Name of the queue's place in the broker; default: that of `lab play`
    #[arg(long, value_name = "NAME")]
    place: Option<String>,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    most: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(crate) fn main(args: &DeadArgs, handles: &[Handle]) -> Result<ExitCode> {
    let handle = lab(handles, &args.lab)?;
    let Some(queue) = &handle.queue else {
        let known = handles.iter().filter(|other| other.entry.pattern == Pattern::Queue);
        let known: Vec<&str> = known.map(|other| other.entry.name.as_str()).collect();
        let near = plan::nearest(&args.lab, known.iter().copied());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        bail!(Usage(format!("{} is not a queue; {near}queues are: {}", args.lab, known.join(", "))));
    };
    check(args)?;
    let address = address(args, handle)?;
    let place = place_name(handle, args.place.as_deref())?;
    let directory = Directory::supervised();
    if handle.entry.broker.is_none() && !args.at.is_empty() {
        directory.tell("", args.at.iter().map(|Given(at)| at.clone()).collect());
    } else if handle.entry.broker.is_none() && handle.entry.guarantee != Guarantee::Durable {
        bail!(Usage(format!(
            "the dead letters of {} are in the memory of its producer: give the --at that `{}` shows",
            args.lab,
            hint::command(&["play", &args.lab, "producer"])
        )));
    }
    let there = Place::new(&place, address.as_ref()).with_role("dead").with_directory(Arc::new(directory));
    guard::enter_and_keep_logs()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(interruptible(async {
        let mut letters = queue.dead_letters(&there).await?;
        Dead { args, place: &place }.act(&mut letters).await
    }));
    runtime.shutdown_background();
    done.unwrap_or(Ok(ExitCode::from(130)))
}

/// Refuses what does not go together.
fn check(args: &DeadArgs) -> Result<()> {
    let DeadArgs { action, ids, all, raw, json, .. } = args;
    let name = action.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let settles = matches!(action, Action::Return | Action::Discard);
    let refused = match action {
        Action::List if !ids.is_empty() => Some("`list` takes no id; `show ID` prints one".to_owned()),
        Action::Show if ids.len() != 1 => Some(format!("`show` takes one id, and {} were given", ids.len())),
        _ if *all && !settles => Some(format!("--all is for `return` and `discard`, not for `{name}`")),
        _ if *raw && (*action != Action::Show || *json) => {
            Some("--raw is for `show`, without --json".to_owned())
        }
        _ if settles && *all != ids.is_empty() => {
            Some(format!("`{name}` takes ids, or --all for every dead letter"))
        }
        _ => None,
    };
    match refused {
        Some(why) => Err(Usage(why).into()),
        None => Ok(()),
    }
}

/// The user's own broker, or that of another terminal: one that was started here would be empty.
fn address(args: &DeadArgs, handle: &Handle) -> Result<Option<BrokerAddress>> {
    let mut choices = args.brokers.choices()?;
    let Some(which) = handle.entry.broker else { return Ok(None) };
    if let Some(Given(text)) = args.at.last() {
        let address = broker::address(which, text).map_err(|error| Usage(format!("--at: {error:#}")))?;
        return Ok(Some(address));
    }
    match choices.remove(&which) {
        Some(Choice::Address(address)) => Ok(Some(address)),
        _ => bail!(Usage(format!(
            "{} needs the broker that has the queue, because a new one has no dead letters: give --url \
             {which}=URL for your own, or the --at that `{}` shows",
            args.lab,
            hint::command(&["play", &args.lab, "producer"])
        ))),
    }
}

struct Dead<'a> {
    args: &'a DeadArgs,
    place: &'a str,
}

impl Dead<'_> {
    async fn act(&self, letters: &mut AnyDeadLetters) -> Result<ExitCode> {
        match self.args.action {
            Action::List => self.list(letters).await,
            Action::Show => self.show(letters).await,
            Action::Return | Action::Discard => self.settle(letters).await,
        }
    }

    async fn list(&self, letters: &mut AnyDeadLetters) -> Result<ExitCode> {
        let listed = letters.list(self.args.most).await?;
        if self.args.json {
            let rows: Vec<_> = listed.iter().map(row).collect();
            outln!("{}", serde_json::to_string_pretty(&rows)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if listed.is_empty() {
            errln!("· {} has no dead letters at `{}`", self.args.lab, self.place);
            return Ok(ExitCode::SUCCESS);
        }
        let wide = |title: &str, cell: fn(&DeadLetter) -> &str| {
            listed.iter().map(|letter| cell(letter).chars().count()).chain([title.len()]).max().unwrap_or(0)
        };
        let (id, reason) =
            (wide("ID", |letter| letter.id.as_str()), wide("REASON", |letter| letter.reason.as_str()));
        outln!("{:id$}  ATTEMPTS  {:reason$}  BODY", "ID", "REASON")?;
        for letter in &listed {
            let DeadLetter { attempts, .. } = letter;
            let why = printable_bytes(letter.reason.as_bytes());
            outln!("{:id$}  {attempts:8}  {why:reason$}  {}", letter.id, beginning(&letter.body))?;
        }
        if listed.len() == self.args.most {
            errln!("· there may be more: --most lists more than {}", self.args.most);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, letters: &mut AnyDeadLetters) -> Result<ExitCode> {
        let id = self.args.ids.first().context("no id")?;
        let Some(letter) = letters.list(ALL).await?.into_iter().find(|letter| letter.id == *id) else {
            self.unknown(id);
            return Ok(ExitCode::FAILURE);
        };
        if self.args.json {
            outln!("{}", row(&letter))?;
        } else if self.args.raw {
            let mut out = std::io::stdout().lock();
            out.write_all(&letter.body)?;
            out.flush()?;
        } else {
            errln!(
                "· {}: {} attempts have failed, the last one: {}",
                letter.id,
                letter.attempts,
                printable(&letter.reason)
            );
            outln!("{}", printable(&String::from_utf8_lossy(&letter.body)))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns or discards, one after the other, the oldest first.
    async fn settle(&self, letters: &mut AnyDeadLetters) -> Result<ExitCode> {
        let ids = if self.args.all {
            letters.list(ALL).await?.into_iter().map(|letter| letter.id).collect()
        } else {
            self.args.ids.clone()
        };
        let returns = self.args.action == Action::Return;
        let (mut done, mut missing) = (Vec::new(), Vec::new());
        for id in &ids {
            let found = if returns { letters.give_back(id).await } else { letters.discard(id).await };
            let found = found.with_context(|| format!("{} of {} are done", done.len(), ids.len()))?;
            if found { done.push(id) } else { missing.push(id) }
        }
        let word = if returns { "returned" } else { "discarded" };
        if self.args.json {
            outln!("{}", json!({ word: done, "missing": missing }))?;
        } else {
            missing.iter().for_each(|id| self.unknown(id));
            errln!("· {word}: {} of {}", done.len(), ids.len());
        }
        // Of all that were listed, another program may have settled some.
        let failed = !missing.is_empty() && !self.args.all;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn unknown(&self, id: &str) {
        let (lab, place) = (&self.args.lab, self.place);
        errln!(
            "· {lab} has no dead letter `{}` at `{place}`; without an action, all are listed",
            printable(id)
        );
    }
}

/// One dead letter, as scripts read it.
fn row(letter: &DeadLetter) -> serde_json::Value {
    let DeadLetter { id, body, attempts, reason } = letter;
    json!({ "id": id, "attempts": attempts, "reason": reason, "body": MessageText::from(body) })
}

/// The beginning of a body, in one line.
fn beginning(body: &[u8]) -> String {
    // No character is longer than four bytes, and the last one may be cut.
    let text = printable_bytes(&body[..body.len().min(4 * SHOWN + 4)]);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_in_one_line() {
        for (body, shown) in [
            (&b"hello"[..], "hello".to_owned()),
            (b"a\nb\x07", "a\\nb\\u{7}".to_owned()),
            ("ü".repeat(60).as_bytes(), "ü".repeat(60)),
            ("ü".repeat(61).as_bytes(), format!("{}…", "ü".repeat(60))),
            ("\u{1f600}".repeat(300).as_bytes(), format!("{}…", "\u{1f600}".repeat(60))),
        ] {
            assert_eq!(beginning(body), shown);
        }
    }
}
