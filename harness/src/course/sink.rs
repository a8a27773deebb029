//! The sink: where programs send their effects, one listener for each program.
//!
//! An effect is work that is seen from outside, as a payment or a mail would be. The sink writes it
//! down and answers. A rule decides the answer; so an exercise can refuse an effect, hold it, or never
//! answer it while it kills the program.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::history::{Fields, What, text};
use super::program::{Events, Heard};
use super::trouble::Trouble;

/// The longest line to a sink, bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// Most connections to the sink of one program, over the whole run.
const MOST_CONNECTIONS: usize = 1_000;

/// What the sink answers.
pub(crate) enum Answer {
    /// Done, with these fields in the answer.
    Accept(Fields),
    /// Done, but the answer takes this long.
    Late(Duration, Fields),
    /// Not done, for this reason.
    Refuse(String),
    /// No answer; the connection stays open.
    Never,
}

/// An effect that a rule judges: the program, how many effects came before, the body.
pub(crate) struct Asked<'a> {
    pub(crate) program: usize,
    pub(crate) number: usize,
    pub(crate) body: &'a str,
}

/// Decides what the sink answers.
pub(crate) type Rule = Rc<dyn Fn(&Asked<'_>) -> Answer>;

/// Starts the sink of one program; returns its address.
pub(crate) async fn start(
    program: usize,
    rule: Rule,
    count: Rc<Cell<usize>>,
    events: Events,
) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for effects")?;
    let address = listener.local_addr().context("a listener without an address")?.to_string();
    tokio::task::spawn_local(async move {
        for _ in 0..MOST_CONNECTIONS {
            let Ok((stream, _)) = listener.accept().await else { return };
            let _ = stream.set_nodelay(true);
            tokio::task::spawn_local(serve(stream, program, rule.clone(), count.clone(), events.clone()));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream, program: usize, rule: Rule, count: Rc<Cell<usize>>, events: Events) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let length = (&mut read).take(LONGEST_LINE).read_until(b'\n', &mut line).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        let parsed: Option<Fields> = serde_json::from_slice(&line).ok();
        let Some(fields) = parsed.filter(|fields| text(fields, "type") == "effect") else {
            let shown = String::from_utf8_lossy(&line);
            let shown: String =
                labs::printable::printable(shown.trim_end()).to_string().chars().take(80).collect();
            let _ = events.send(Heard::Trouble(Trouble::new(
                format!("the program has sent `{shown}` to the sink, which is not an effect"),
                "an effect is one line: {\"type\":\"effect\",\"key\":\"…\",\"body\":\"…\"}",
            )));
            return;
        };
        let number = count.get();
        count.set(number + 1);
        let (key, body) = (text(&fields, "key").to_owned(), text(&fields, "body").to_owned());
        let answer = rule(&Asked { program, number, body: &body });
        let _ = events.send(Heard::What(What::Effect { program, number, key, body }));
        let (accepted, fields) = match answer {
            Answer::Accept(fields) => (true, fields),
            Answer::Late(delay, fields) => {
                tokio::time::sleep(delay).await;
                (true, fields)
            }
            Answer::Refuse(reason) => (false, Fields::from_iter([("reason".to_owned(), json!(reason))])),
            Answer::Never => continue,
        };
        let mut line = Fields::from_iter([("type".to_owned(), json!(if accepted { "ok" } else { "fail" }))]);
        line.extend(fields);
        // Written down first: what the program does next comes after it.
        let _ = events.send(Heard::What(What::Answered { program, number, accepted }));
        if write.write_all(format!("{}\n", Value::Object(line)).as_bytes()).await.is_err() {
            return;
        }
    }
}
