//! What exercises over a Redis stream with a group of workers share.

use std::rc::Rc;

use anyhow::Result;

use crate::course::history::{Fields, History};
use crate::course::redis::Redis;
use crate::course::session::Session;
use crate::course::sink::{Answer, Asked, Rule};

/// A stream `tasks` and its group `workers`.
pub(super) struct Tasks {
    pub(super) stream: String,
    pub(super) group: String,
    /// `(entry id, body)` of all that were added, in order.
    pub(super) sent: Vec<(String, String)>,
}

impl Tasks {
    pub(super) async fn create(session: &Session, redis: &mut Redis) -> Result<Self> {
        let (stream, group) = (session.key("tasks"), session.key("workers"));
        redis.call(&["XGROUP", "CREATE", &stream, &group, "$", "MKSTREAM"]).await?;
        Ok(Self { stream, group, sent: Vec::new() })
    }

    /// Adds an entry with these fields; returns its id. `body` is what is remembered of it.
    pub(super) async fn add(&mut self, redis: &mut Redis, body: &str, fields: &[&str]) -> Result<String> {
        let words = [&["XADD", self.stream.as_str(), "*"], fields].concat();
        let id = redis.call(&words).await?.text().unwrap_or_default();
        self.sent.push((id.clone(), body.to_owned()));
        Ok(id)
    }

    /// How many entries were delivered and not acknowledged.
    pub(super) async fn pending(&self, redis: &mut Redis) -> Result<i64> {
        let summary = redis.call(&["XPENDING", &self.stream, &self.group]).await?;
        Ok(summary.list().first().map_or(0, crate::course::redis::Reply::number))
    }

    /// How many entries were never delivered.
    pub(super) async fn unread(&self, redis: &mut Redis) -> Result<usize> {
        let groups = redis.call(&["XINFO", "GROUPS", &self.stream]).await?;
        let last = groups.list().first().and_then(|group| {
            let words = group.list();
            let at = words.iter().position(|word| word.text().as_deref() == Some("last-delivered-id"))?;
            words.get(at + 1)?.text()
        });
        let after = format!("({}", last.unwrap_or_else(|| "0".to_owned()));
        Ok(redis.call(&["XRANGE", &self.stream, &after, "+"]).await?.list().len())
    }

    /// Says whether everything was acknowledged.
    pub(super) async fn check_all_acked(&self, session: &mut Session, redis: &mut Redis) -> Result<()> {
        let (pending, unread) = (self.pending(redis).await?, self.unread(redis).await?);
        session.check(
            "all-acked",
            pending == 0 && unread == 0,
            "every entry was read and acknowledged",
            format!("{pending} entries were delivered and not acknowledged, {unread} were never read"),
        );
        Ok(())
    }
}

/// A rule that accepts every effect but these, which get no answer. Effects are counted from 0 over
/// the whole run.
pub(super) fn all_but(numbers: Vec<usize>) -> Rule {
    Rc::new(
        move |asked: &Asked<'_>| {
            if numbers.contains(&asked.number) { Answer::Never } else { Answer::Accept(Fields::new()) }
        },
    )
}

/// The bodies whose effect was accepted.
pub(super) fn done(history: &History) -> Vec<String> {
    history.accepted().map(|effect| effect.body.to_owned()).collect()
}

/// How many of the tasks have an accepted effect.
pub(super) fn count_done(history: &History, sent: &[(String, String)]) -> usize {
    let done: std::collections::BTreeSet<&str> = history.accepted().map(|effect| effect.body).collect();
    sent.iter().filter(|(_, body)| done.contains(body.as_str())).count()
}
