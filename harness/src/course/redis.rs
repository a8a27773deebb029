//! The checker's own ends of Redis: a connection to play the other parties, and a spy.
//!
//! The spy is Redis's own MONITOR: it sees every command, in the order in which Redis ran them,
//! with the address that it came from. The programs come through the proxy, the checker does not.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::history::What;
use super::program::{Events, Heard};

/// The addresses of the checker's own connections.
type Own = Rc<RefCell<BTreeSet<String>>>;

/// A connection of the checker to Redis. One command at a time.
pub(crate) struct Redis {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// What Redis replies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    Text(String),
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a reply that is one; a number as its digits.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The number of a reply that is one; 0 for any other.
    pub(crate) const fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Nil | Self::Text(_) | Self::List(_) => 0,
        }
    }

    /// The elements of a list; none for any other reply.
    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            Self::Nil | Self::Number(_) | Self::Text(_) => &[],
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.list().iter().filter_map(Self::text).collect()
    }

    /// The entries of a stream, as XRANGE replies them: `(entry id, fields)`.
    pub(crate) fn entries(&self) -> Vec<(String, Vec<(String, String)>)> {
        let entry = |entry: &Self| {
            let [id, fields] = entry.list() else { return None };
            let texts = fields.texts();
            let pairs = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            Some((id.text()?, pairs))
        };
        self.list().iter().filter_map(entry).collect()
    }
}

impl Redis {
    /// Connects.
    pub(crate) async fn connect(address: &str, own: &Own) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect to the private Redis")?;
        let _ = stream.set_nodelay(true);
        own.borrow_mut().insert(stream.local_addr().context("no address")?.to_string());
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write })
    }

    /// Gives a command, and waits for its reply. An error reply is an error here.
    pub(crate) async fn call(&mut self, words: &[&str]) -> Result<Reply> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.write.write_all(command.as_bytes()).await.context("the private Redis is gone")?;
        let name = words.first().copied().unwrap_or_default();
        Box::pin(self.reply()).await.with_context(|| format!("Redis does not do {name}"))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.read.read_line(&mut line).await.context("the private Redis is gone")?;
        if length == 0 {
            bail!("the private Redis has closed the connection");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    async fn reply(&mut self) -> Result<Reply> {
        let line = self.line().await?;
        let Some((kind, rest)) = line.split_at_checked(1) else { bail!("an empty reply") };
        let length = || rest.parse::<i64>().context("a reply without a length");
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => bail!("{rest}"),
            ":" => Reply::Number(length()?),
            "$" | "*" if length()? < 0 => Reply::Nil,
            "$" => {
                let mut text = vec![0; length()? as usize + 2];
                self.read.read_exact(&mut text).await.context("the private Redis is gone")?;
                text.truncate(text.len() - 2);
                Reply::Text(String::from_utf8_lossy(&text).into_owned())
            }
            "*" => {
                let mut list = Vec::new();
                for _ in 0..length()? {
                    list.push(Box::pin(self.reply()).await?);
                }
                Reply::List(list)
            }
            _ => bail!("a reply of an unknown kind"),
        })
    }
}

/// Begins to watch all commands.
pub(crate) async fn spy(address: &str, own: Own, events: Events) -> Result<()> {
    let mut redis = Redis::connect(address, &own).await?;
    redis.call(&["MONITOR"]).await?;
    tokio::task::spawn_local(async move {
        // The write half stays open as long as this runs.
        let Redis { mut read, write } = redis;
        let mut line = Vec::new();
        while read.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
            if let Some((client, words)) = monitored(&String::from_utf8_lossy(&line)) {
                let own = own.borrow().contains(&client);
                let _ = events.send(Heard::What(What::Command { words, own }));
            }
            line.clear();
        }
        drop(write);
    });
    Ok(())
}

/// One line of MONITOR, `+TIME [DB CLIENT] "WORD" "WORD" …`: the client and the words. The first
/// word, the name of the command, comes in capitals.
pub(super) fn monitored(line: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = line.split_once('[')?;
    let (about, rest) = rest.split_once(']')?;
    let (_, client) = about.split_once(' ')?;
    let mut words = Vec::new();
    let mut bytes = Vec::new();
    let mut inside = false;
    let mut characters = rest.trim_end().chars();
    while let Some(character) = characters.next() {
        match (inside, character) {
            (false, '"') => inside = true,
            (false, _) => {}
            (true, '"') => {
                words.push(String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned());
                inside = false;
            }
            (true, '\\') => match characters.next()? {
                'n' => bytes.push(b'\n'),
                'r' => bytes.push(b'\r'),
                't' => bytes.push(b'\t'),
                'a' => bytes.push(7),
                'b' => bytes.push(8),
                'x' => {
                    let digits: String = [characters.next()?, characters.next()?].iter().collect();
                    bytes.push(u8::from_str_radix(&digits, 16).ok()?);
                }
                other => bytes.extend(other.to_string().bytes()),
            },
            (true, other) => bytes.extend(other.to_string().bytes()),
        }
    }
    if let Some(name) = words.first_mut() {
        *name = name.to_uppercase();
    }
    Some((client.to_owned(), words))
}

/// A JSON object out of a text; empty when it is none.
pub(crate) fn object(text: &str) -> super::history::Fields {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        _ => super::history::Fields::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitored_commands_are_read() {
        for (line, client, words) in [
            (
                "+1700000000.1 [0 127.0.0.1:40] \"xack\" \"s\" \"g\" \"1-0\"\r\n",
                "127.0.0.1:40",
                &["XACK", "s", "g", "1-0"][..],
            ),
            ("+1.2 [0 [::1]:5] \"GET\" \"\"", "[::1", &[]),
            (
                "+1.2 [0 h:1] \"RPUSH\" \"l\" \"a \\\"b\\\" \\\\ \\n\\xc3\\xbc\"",
                "h:1",
                &["RPUSH", "l", "a \"b\" \\ \n\u{fc}"],
            ),
            ("+1.2 [0 unix:/tmp/s] \"PING\"", "unix:/tmp/s", &["PING"]),
        ] {
            let (seen, found) = monitored(line).expect(line);
            assert_eq!(seen, client, "{line}");
            if !words.is_empty() {
                assert_eq!(found, words, "{line}");
            }
        }
        for line in ["", "+OK", "+1.2 [0] \"PING\"", "+1.2 [0 h:1] \"a\\"] {
            assert!(monitored(line).is_none(), "{line}");
        }
    }

    #[test]
    fn fuzz_monitor_lines() {
        fuzz::Target::new("monitor_lines")
            .seed(b"+1700000000.123456 [0 127.0.0.1:40] \"XACK\" \"s\" \"g\" \"1-0\"")
            .seed(b"+1.2 [0 h:1] \"RPUSH\" \"l\" \"a \\\"b\\\" \\x00\\r\\n\"")
            .run(|line| monitored(&String::from_utf8_lossy(line)).is_some());
    }
}
