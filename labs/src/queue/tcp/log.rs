//! A producer's own log: messages that are not settled, in an embedded store,
//! one file in a folder that belongs to the place and the role.
//!
//! The store is redb: one file, no threads of its own, no C, and a commit is
//! whole or not there. Each commit is written to the operating system before it
//! returns, which outlives kill -9 of this process. Whether it then waits for
//! the disk, which a power cut asks for, is up to `fsync`; if it does, it waits
//! on a thread of its own, and the producer goes on delivering.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use crate::lab::Place;
use crate::place::state_folder;
use crate::wire::peer_queue::Failure;

const MESSAGES: TableDefinition<u64, &[u8]> = TableDefinition::new("messages");
/// Messages that have failed: how often, and why the last time; of one that is not dead, no reason.
const FAILED: TableDefinition<u64, (u32, &str)> = TableDefinition::new("failed");
const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("about");
/// The name of a log's file.
const LOG: &str = "log.redb";
/// Pages kept in memory, bytes.
const CACHE: usize = 32 << 20;
/// Bodies kept until they are first asked for, bytes; others are read back.
const FRESH: usize = 16 << 20;

/// The log of one producer.
pub(super) struct Log {
    store: Arc<Database>,
    fsync: bool,
    /// Tells this log from one that was removed and begun again.
    pub(super) identity: u64,
    /// The number of the next message; none is used twice.
    pub(super) next: u64,
    /// What the table of failures says: of dead letters, and of messages that are delivered again.
    pub(super) failed: BTreeMap<u64, Failed>,
    fresh: HashMap<u64, Bytes>,
    fresh_bytes: usize,
}

/// A message that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) attempts: u32,
    /// Of a dead letter.
    pub(super) reason: Option<String>,
}

/// What one commit changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Messages that get the next numbers.
    pub(super) new: Vec<Bytes>,
    /// Numbers of messages that are forgotten.
    pub(super) settled: Vec<u64>,
    /// Messages that have failed once more.
    pub(super) failed: Vec<Failure>,
}

impl Log {
    /// Opens the role's log, or begins one; with the numbers of the messages
    /// that are left in it, without the dead letters.
    pub(super) fn open(place: &Place, fsync: bool) -> Result<(Self, Vec<u64>)> {
        Self::open_in(&folder(place).join(plain(place.role())), fsync)
    }

    /// Opens the log in a folder, or begins one.
    pub(super) fn open_in(folder: &Path, fsync: bool) -> Result<(Self, Vec<u64>)> {
        let about = || format!("cannot open the log in {}", folder.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(about)?;
        let path = folder.join(LOG);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(about)?;
        file.try_lock().with_context(|| format!("{} is in use by another producer", path.display()))?;
        // A new file is only found after a power cut if its folder is on disk.
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(about)?;
        let store = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(Disk { file, fsync })
            .with_context(about)?;
        let store = Arc::new(store);
        let (failed, fresh) = (BTreeMap::new(), HashMap::new());
        let mut log = Self { store, fsync, identity: 0, next: 1, failed, fresh, fresh_bytes: 0 };
        let left = log.read_what_is_left().with_context(about)?;
        Ok((log, left))
    }

    fn read_what_is_left(&mut self) -> Result<Vec<u64>> {
        let writing = self.store.begin_write()?;
        let left = {
            let mut about = writing.open_table(ABOUT)?;
            let identity = about.get("identity")?.map(|value| value.value());
            self.identity = identity.unwrap_or_else(|| RandomState::new().hash_one("a log"));
            about.insert("identity", self.identity)?;
            self.next = about.get("next")?.map_or(1, |value| value.value());
            for row in writing.open_table(FAILED)?.iter()? {
                let (id, failed) = row?;
                let (attempts, reason) = failed.value();
                let reason = (!reason.is_empty()).then(|| reason.to_owned());
                self.failed.insert(id.value(), Failed { attempts, reason });
            }
            let messages = writing.open_table(MESSAGES)?;
            let ids = messages.iter()?.map(|row| Ok(row?.0.value())).collect::<Result<Vec<u64>>>()?;
            ids.into_iter().filter(|id| self.dead(*id).is_none()).collect()
        };
        writing.commit()?;
        Ok(left)
    }

    /// What is noted of a dead letter.
    pub(super) fn dead(&self, id: u64) -> Option<&Failed> {
        self.failed.get(&id).filter(|failed| failed.reason.is_some())
    }

    /// Makes the changes: all of them, or, after an error, none. One commit at a time, and
    /// [`Log::wrote`] after it.
    pub(super) fn commit(&mut self, changes: Changes) -> impl Future<Output = Result<()>> + Send + use<> {
        for Failure { id, attempts, reason, dead } in &changes.failed {
            let reason = dead.then(|| (*reason).to_owned());
            self.failed.insert(*id, Failed { attempts: *attempts, reason });
        }
        // Of most messages nothing is noted.
        let noted = changes.settled.iter().copied().filter(|id| self.failed.remove(id).is_some()).collect();
        let (store, first, fsync) = (Arc::clone(&self.store), self.next, self.fsync);
        let write = move || write(&store, first, &changes, noted).context("the log cannot be written");
        async move { if fsync { tokio::task::spawn_blocking(write).await? } else { write() } }
    }

    /// These were committed.
    pub(super) fn wrote(&mut self, new: impl IntoIterator<Item = Bytes>) {
        for body in new {
            if self.fresh_bytes + body.len() <= FRESH {
                self.fresh_bytes += body.len();
                self.fresh.insert(self.next, body);
            }
            self.next += 1;
        }
    }

    /// The body of a message that is not settled.
    pub(super) fn body(&mut self, id: u64) -> Result<Bytes> {
        if let Some(body) = self.fresh.remove(&id) {
            self.fresh_bytes -= body.len();
            return Ok(body);
        }
        let messages = self.store.begin_read()?.open_table(MESSAGES)?;
        let body = messages.get(id)?.with_context(|| format!("message {id} is not in the log"))?;
        Ok(Bytes::copy_from_slice(body.value()))
    }
}

fn write(store: &Database, first: u64, changes: &Changes, noted: Vec<u64>) -> Result<()> {
    let writing = store.begin_write()?;
    {
        let mut messages = writing.open_table(MESSAGES)?;
        for (id, body) in (first..).zip(&changes.new) {
            messages.insert(id, &body[..])?;
        }
        for id in &changes.settled {
            messages.remove(id)?;
        }
        if !changes.new.is_empty() {
            writing.open_table(ABOUT)?.insert("next", first + changes.new.len() as u64)?;
        }
        if !changes.failed.is_empty() || !noted.is_empty() {
            let mut failed = writing.open_table(FAILED)?;
            for Failure { id, attempts, reason, dead } in &changes.failed {
                failed.insert(id, (*attempts, if *dead { *reason } else { "" }))?;
            }
            for id in noted {
                failed.remove(id)?;
            }
        }
    }
    Ok(writing.commit()?)
}

/// The folders of the logs that a place has.
pub(super) fn folders(place: &Place) -> Result<Vec<PathBuf>> {
    let folder = folder(place);
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.retain(|folder| folder.join(LOG).is_file());
    folders.sort();
    Ok(folders)
}

/// Removes the logs of every role of a place.
pub(super) fn remove(place: &Place) -> Result<()> {
    let folder = folder(place);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Where the logs of a place live: with the user's other state that outlives a
/// program and a restart of the machine, which temporary folders may not. A benchmark's go
/// with its session.
pub(super) fn folder(place: &Place) -> PathBuf {
    state_folder().join("messaging-lab").join(plain(&place.name()))
}

/// A name as the name of a file.
fn plain(name: &str) -> PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let escaped: String =
        name.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:x}", u32::from(c)) }).collect();
    // `.` and `..` are names of other folders.
    Path::new(&format!("+{escaped}")).to_path_buf()
}

/// The file, and whether a commit waits until it is on disk.
#[derive(Debug)]
struct Disk {
    file: File,
    fsync: bool,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fsync { self.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(log: &mut Log, new: &[&'static str], settled: &[u64]) -> Result<()> {
        let new: Vec<Bytes> = new.iter().map(|body| Bytes::from(*body)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let changes = Changes { new: new.clone(), settled: settled.to_vec(), failed: Vec::new() };
        runtime.block_on(log.commit(changes))?;
        log.wrote(new);
        Ok(())
    }

    #[test]
    fn a_log_goes_on_where_it_ended() -> Result<()> {
        let place = Place::new(&format!("log-test-{}", std::process::id()), None);
        let (mut log, left) = Log::open(&place, false)?;
        assert_eq!(left, [0; 0]);
        commit(&mut log, &["one", "two", "three"], &[])?;
        commit(&mut log, &[], &[1, 3])?;
        assert!(Log::open(&place, false).is_err(), "two producers share a log");
        let identity = log.identity;
        drop(log);

        let (mut log, left) = Log::open(&place, true)?;
        assert_eq!((left, log.identity, log.next), (vec![2], identity, 4));
        assert_eq!(log.body(2)?, "two");
        commit(&mut log, &[], &[2])?;
        drop(log);

        // No number is used twice, even when nothing is left.
        let (log, left) = Log::open(&place, false)?;
        assert_eq!((left, log.next), (vec![], 4));
        drop(log);
        remove(&place)?;
        assert!(!folder(&place).exists());
        let (log, _) = Log::open(&place, false)?;
        assert_ne!(log.identity, identity);
        remove(&place)
    }

    #[test]
    fn what_has_failed_is_known_after_a_restart() -> Result<()> {
        let place = Place::new(&format!("log-failed-{}", std::process::id()), None);
        let (mut log, _) = Log::open(&place, false)?;
        commit(&mut log, &["one", "two", "three"], &[])?;
        let failed = [(1, 2, false), (2, 5, true), (3, 1, false)];
        let failure = |(id, attempts, dead)| Failure { id, attempts, reason: "nacked", dead };
        let changes = Changes { failed: failed.map(failure).to_vec(), ..Changes::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(log.commit(changes))?;
        commit(&mut log, &[], &[3])?;
        drop(log);

        let (mut log, left) = Log::open(&place, false)?;
        assert_eq!(left, [1], "a dead letter is delivered again");
        let dead = Failed { attempts: 5, reason: Some("nacked".to_owned()) };
        assert_eq!(log.failed, [(1, Failed { attempts: 2, reason: None }), (2, dead)].into());
        assert_eq!(log.body(2)?, "two");
        commit(&mut log, &[], &[2])?;
        drop(log);
        let (log, _) = Log::open(&place, false)?;
        assert!(log.dead(2).is_none() && log.failed.len() == 1);
        drop(log);
        remove(&place)
    }

    #[test]
    fn the_folder_of_a_place_is_its_own() {
        let folder = |name: &str| folder(&Place::new(name, None));
        for name in ["..", ".", "a/b", "/etc", "a.b", "ä"] {
            assert_eq!(folder(name).parent(), folder("plain").parent(), "{name}");
            assert_ne!(folder(name), folder("plain"));
        }
        assert_ne!(folder("a/b"), folder("a%2fb"));
    }
}
