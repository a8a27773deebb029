//! The memory of an idempotent receiver: a message that comes again has no second effect.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

/// Which messages had their effect: the identifiers of the last `most` of them, in a file that
/// outlives the receiver.
///
/// At-least-once delivery repeats a message when its acknowledgement was lost, when its consumer was
/// killed before it acknowledged, and when a producer sends again what was not confirmed. So a
/// receiver looks here first, and acknowledges what it knows without doing it again.
///
/// Two limits. The memory is bounded: a message that comes again after `most` others is taken for a
/// new one. And an effect outside of this file is a second step: a receiver that is killed between
/// the two repeats that one effect. Where the effect is a row in a database, write the identifier
/// there, in the same transaction.
///
/// The file has one identifier a line, as hexadecimal digits. A line that was being written when the
/// process was killed has no end, and does not count.
#[derive(Debug)]
pub struct Remembered {
    known: HashSet<Bytes>,
    /// The oldest first.
    order: VecDeque<Bytes>,
    most: usize,
    file: Option<(PathBuf, File)>,
    /// In the file, those that were forgotten included.
    lines: usize,
}

impl Remembered {
    /// A memory that ends with its process.
    pub fn in_memory(most: usize) -> Self {
        let (known, order) = (HashSet::new(), VecDeque::new());
        Self { known, order, most: most.max(1), file: None, lines: 0 }
    }

    /// The memory in this file, which is made where there is none. One process at a time may have it.
    ///
    /// # Errors
    /// When the file cannot be read or made, or is something else.
    pub fn open(path: &Path, most: usize) -> Result<Self> {
        let mut remembered = Self::in_memory(most);
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            match bytes_of(line) {
                Some(id) => remembered.keep(id),
                None => bail!("{} is no memory of a receiver: it has the line `{line}`", path.display()),
            }
        }
        if whole < text.len() {
            file.set_len(whole as u64).with_context(|| format!("cannot repair {}", path.display()))?;
        }
        remembered.lines = text[..whole].lines().count();
        remembered.file = Some((path.to_owned(), file));
        Ok(remembered)
    }

    /// Whether this message had its effect.
    pub fn contains(&self, id: &[u8]) -> bool {
        self.known.contains(id)
    }

    /// Does `effect` if this message has not had it, and remembers that.
    ///
    /// # Errors
    /// The error of the effect, and nothing is remembered; or the memory cannot be written.
    pub fn once<T>(&mut self, id: &[u8], effect: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        if self.contains(id) {
            return Ok(None);
        }
        let done = effect()?;
        self.insert(id)?;
        Ok(Some(done))
    }

    /// Remembers a message.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn insert(&mut self, id: &[u8]) -> Result<()> {
        if self.contains(id) {
            return Ok(());
        }
        self.keep(Bytes::copy_from_slice(id));
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(line_of(id).as_bytes())
            .with_context(|| format!("cannot remember a message in {}", path.display()))?;
        self.lines += 1;
        if self.lines >= self.most.saturating_mul(2) { self.write_anew() } else { Ok(()) }
    }

    fn keep(&mut self, id: Bytes) {
        if self.known.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Leaves out what was forgotten, so that the file is bounded as well.
    fn write_anew(&mut self) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let new = path.with_extension("new");
        let text: String = self.order.iter().map(|id| line_of(id)).collect();
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &*path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        *file = OpenOptions::new().append(true).open(&*path)?;
        self.lines = self.order.len();
        Ok(())
    }
}

fn line_of(id: &[u8]) -> String {
    let mut line = String::with_capacity(2 * id.len() + 1);
    for byte in id {
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

fn bytes_of(line: &str) -> Option<Bytes> {
    let digits = line.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<Vec<u8>>>().map(Bytes::from)
}
