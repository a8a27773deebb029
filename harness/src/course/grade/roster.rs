//! Who is in the class: a file with one line for each student.
//!
//! ```text
//! id,name,submission
//! ann,Ann Example,
//! bob,Bob Example,upload-17.zip
//! ```
//!
//! `id` is needed; `name` is for the pages; `submission` is the entry in the folder of submissions,
//! where it is not named after the id. Other columns are left alone.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// A student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Student {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The entry in the folder of submissions, where the roster names one.
    pub(crate) submission: Option<String>,
}

/// The class, and the lines of the file that could not be used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) students: Vec<Student>,
    pub(crate) problems: Vec<String>,
}

/// The longest id: it becomes the name of files.
const LONGEST_ID: usize = 64;
/// The most lines that cannot be used and are named one by one; the others are counted.
const MOST_PROBLEMS: usize = 100;
/// Most lines.
const MOST: usize = 10_000;

/// Reads the file.
///
/// # Errors
/// When it cannot be read, or has no column `id`. Lines that are wrong are problems, and the others
/// count.
pub(crate) fn read(path: &Path) -> Result<Roster> {
    let text = std::fs::read(path).with_context(|| format!("cannot read the roster {}", path.display()))?;
    parse(&text).with_context(|| format!("the roster {}", path.display()))
}

pub(crate) fn parse(text: &[u8]) -> Result<Roster> {
    // Spreadsheets write a mark of the byte order in front.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // In many countries a spreadsheet writes semicolons.
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let delimiter = if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(text);
    let header = reader.byte_headers().context("it has no first line")?.clone();
    let columns: Vec<String> =
        header.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    let column = |name: &str| columns.iter().position(|column| column == name);
    let Some(id) = column("id") else {
        bail!(
            "it has no column `id`; its first line is `{}`. Write a first line such as `id,name`, with the \
             id of each student below `id`",
            labs::printable::printable(String::from_utf8_lossy(first).trim())
        );
    };
    let (name, submission) = (column("name"), column("submission"));
    let (mut roster, mut further) = (Roster::default(), 0_usize);
    let mut known = BTreeSet::new();
    for record in reader.byte_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                roster.problems.push(format!("the roster cannot be read any further: {error}"));
                break;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: Option<usize>| {
            let bytes = column.and_then(|column| record.get(column)).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let student = Student {
            id: field(Some(id)),
            name: field(name),
            submission: Some(field(submission)).filter(|entry| !entry.is_empty()),
        };
        let shown = labs::printable::printable(&student.id).to_string();
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let problem = if record.len() != columns.len() {
            Some(format!("has {} fields, and the first line has {}", record.len(), columns.len()))
        } else if student.id.is_empty() {
            Some("has no id".to_owned())
        } else if !is_name(&student.id) {
            Some(format!(
                "has the id `{shown}`; an id has at most {LONGEST_ID} letters, digits and the characters . _ @ + -"
            ))
        } else if student.submission.as_ref().is_some_and(|entry| !is_entry(entry)) {
            Some("names a submission outside of the folder".to_owned())
        } else if !known.insert(student.id.clone()) {
            Some(format!("has the id `{shown}` again; its first line counts"))
        } else if roster.students.len() >= MOST {
            roster.problems.push(format!("the roster has more than {MOST} students; the rest is left out"));
            break;
        } else {
            None
        };
        match problem {
            Some(_) if roster.problems.len() >= MOST_PROBLEMS => further += 1,
            Some(problem) => roster.problems.push(format!("line {line} of the roster {problem}")),
            None => roster.students.push(student),
        }
    }
    if further > 0 {
        roster.problems.push(format!("{further} further lines of the roster cannot be used"));
    }
    Ok(roster)
}

/// Whether this can be the name of a file.
pub(crate) fn is_name(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    id.len() <= LONGEST_ID && id.bytes().all(allowed) && id.starts_with(|first: char| first.is_alphanumeric())
}

/// Whether this is a plain entry of a folder.
fn is_entry(name: &str) -> bool {
    !name.contains(['/', '\0']) && ![".", ".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines_count_and_bad_ones_are_named() {
        let text = "\u{feff}ID, Name ,Section,submission\n\
            ann,\"Example, Ann\",1,\n\
            bob,Bob,2,upload 17.zip\n\
            ann,Ann again,1,\n\
            ,Nobody,1,\n\
            \n\
            carl,Carl\n\
            ../etc,Evil,1,\n\
            dora,Dora,1,../x\n\
            eve\u{1b}[31m,Eve,1,\n\
            .hidden,Hidden,1,\n";
        let roster = parse(text.as_bytes()).expect("it has an id");
        let students: Vec<&str> = roster.students.iter().map(|student| student.id.as_str()).collect();
        assert_eq!(students, ["ann", "bob"]);
        assert_eq!(roster.students[0].name, "Example, Ann");
        assert_eq!(roster.students[1].submission.as_deref(), Some("upload 17.zip"));
        insta::assert_snapshot!(roster.problems.join("\n"));
    }

    #[test]
    fn semicolons_separate_where_there_are_no_commas() {
        let roster = parse(b"id;name\r\nann;Ann Example\r\n").expect("it has an id");
        assert_eq!(roster.students.len(), 1);
        assert_eq!(roster.students[0].name, "Ann Example");
    }

    #[test]
    fn a_roster_without_ids_is_refused() {
        for text in ["", "name,mail\nAnn,ann@example.org\n", "\0\0\0", "idx\nann\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fuzz_rosters() {
        fuzz::Target::new("rosters")
            .seed(b"id,name\nann,Ann\n\"b\"\"c\",\"x\ny\"\n")
            .seed(b"\xef\xbb\xbfname,id,submission\r\nAnn,ann,a.zip\r\n")
            .run(|text| match parse(text) {
                Ok(roster) => {
                    assert!(roster.students.iter().all(|student| is_name(&student.id)));
                    let said = roster.problems.join("");
                    assert!(!said.contains('\u{1b}'), "a terminal would obey {said}");
                    true
                }
                Err(_) => false,
            });
    }
}
