//! What may be handed in, and what may not: each refusal names the cause and the remedy.

use std::io::Write as _;

use super::*;
use crate::course::exercises::ALL;

fn taken(from: &Path) -> Result<(tempfile::TempDir, Submission)> {
    let folder = tempfile::tempdir()?;
    let submission = take(from, folder.path())?;
    Ok((folder, submission))
}

fn refused(from: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    format!("{:#}", take(from, folder.path()).expect_err("it is refused"))
}

/// A tar archive with one entry, whose name and kind no packer would write.
fn tar_with(name: &str, kind: tar::EntryType, text: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    let bytes = name.as_bytes();
    header.as_gnu_mut().expect("a header").name[..bytes.len()].copy_from_slice(bytes);
    if kind == tar::EntryType::Symlink {
        header.set_link_name("/etc/passwd").expect("a name");
    }
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, text).expect("written");
    archive.into_inner().expect("written")
}

fn zip_with(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, text, mode) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        if mode & 0o170_000 == 0o120_000 {
            archive.add_symlink(*name, "/etc/passwd", options).expect("written");
        } else {
            archive.start_file(*name, options).expect("written");
            archive.write_all(text).expect("written");
        }
    }
    archive.finish().expect("written").into_inner()
}

#[test]
fn what_cannot_be_taken_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("empty")).expect("made");
    fs::create_dir(at("linked")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", at("linked/first-message.py")).expect("made");
    std::os::unix::fs::symlink("/etc", at("link")).expect("made");
    fs::create_dir(at("deep")).expect("made");
    let deep = (0..DEEPEST + 2).fold(at("deep"), |folder, _| folder.join("d"));
    fs::create_dir_all(&deep).expect("made");
    // Large without being large on the disk.
    File::create(at("large.py")).expect("made").set_len(LARGEST + 1).expect("set");
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("outside.tar", tar_with("../evil.py", tar::EntryType::Regular, b"x")),
        ("absolute.tar", tar_with("/tmp/evil.py", tar::EntryType::Regular, b"x")),
        ("link.tar", tar_with("a.py", tar::EntryType::Symlink, b"")),
        ("pipe.tar", tar_with("a.py", tar::EntryType::Fifo, b"")),
        ("broken.tar", vec![b'x'; 2048]),
        ("broken.zip", b"no zip".to_vec()),
        ("broken.tar.gz", b"no gzip".to_vec()),
        ("empty.zip", zip_with(&[])),
        ("outside.zip", zip_with(&[("../../evil.py", b"x", 0o644)])),
        ("absolute.zip", zip_with(&[("/tmp/evil.py", b"x", 0o644)])),
        ("link.zip", zip_with(&[("a.py", b"", 0o120_777)])),
        ("bomb.zip", zip_with(&[("a.py", &vec![0; LARGEST as usize + 1], 0o644)])),
    ];
    for (name, bytes) in &files {
        fs::write(at(name), bytes).expect("written");
    }
    let mut told = Vec::new();
    let others = ["empty", "linked", "link", "deep", "large.py", "absent"];
    for name in others.into_iter().chain(files.iter().map(|(name, _)| *name)) {
        told.push(format!("{name}: {}", refused(&at(name))));
    }
    insta::assert_snapshot!(told.join("\n"));
    // Nothing was written beside it.
    assert!(
        !Path::new("/tmp/evil.py").exists()
            && !home.path().parent().expect("a folder").join("evil.py").exists()
    );
}

#[test]
fn a_program_is_found_wherever_it_lies() {
    let exercise = ALL[0];
    let name = exercise.name;
    let program = |from: &Path| {
        let (_kept, submission) = taken(from).expect("it is taken");
        let to = tempfile::tempdir().expect("a folder");
        submission
            .program(exercise, to.path())
            .map(|program| program.shown())
            .map_err(|error| format!("{error:#}"))
    };
    let home = tempfile::tempdir().expect("a folder");
    let at = |path: &str| {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        path
    };
    for (path, language) in [
        (format!("flat/{name}.py"), "python"),
        (format!("course/exercises/python/{name}.py"), "python"),
        (format!("rust/rust/src/bin/{name}.rs"), "rust"),
        (format!("script/{name}.mjs"), "javascript"),
        (format!("any/{name}"), name),
        ("ann.py".to_owned(), "python"),
    ] {
        fs::write(at(&path), "#!/bin/sh\n").expect("written");
        fs::set_permissions(at(&path), fs::Permissions::from_mode(0o755)).expect("set");
        let top = home.path().join(path.split('/').next().expect("a name"));
        assert_eq!(program(&top).as_deref(), Ok(language), "{path}");
    }
    // A second program; one without its name; bytes that are no text.
    fs::write(at(&format!("flat/{name}.rs")), "fn main() {}").expect("written");
    assert!(program(&home.path().join("flat")).expect_err("two").contains("two programs"));
    for name in ["a.py", "b.py"] {
        fs::write(at(&format!("other/{name}")), "").expect("written");
    }
    assert!(program(&home.path().join("other")).expect_err("none").contains("there is no program"));
    fs::write(at("bytes.py"), [0xff, 0xfe]).expect("written");
    assert!(program(&home.path().join("bytes.py")).expect_err("no text").contains("UTF-8"));
}

#[test]
fn equal_files_have_equal_digests() {
    let home = tempfile::tempdir().expect("a folder");
    let zip = zip_with(&[("first-message.py", b"print()", 0o644), ("a/b.py", b"", 0o644)]);
    fs::write(home.path().join("one.zip"), &zip).expect("written");
    fs::create_dir_all(home.path().join("two/a")).expect("made");
    fs::write(home.path().join("two/first-message.py"), "print()").expect("written");
    fs::write(home.path().join("two/a/b.py"), "").expect("written");
    let digest = |name: &str| taken(&home.path().join(name)).expect("taken").1.digest;
    assert_eq!(digest("one.zip"), digest("two"));
    fs::write(home.path().join("two/a/b.py"), "#").expect("written");
    assert_ne!(digest("one.zip"), digest("two"));
}

#[test]
fn two_with_one_name_are_named() {
    let student = |submission: Option<&str>| Student {
        id: "ann".to_owned(),
        name: String::new(),
        submission: submission.map(str::to_owned),
    };
    let entries: Vec<String> = ["ann", "ann.zip", "bob.tar.gz", "up load.zip"].map(str::to_owned).into();
    let error = entry(&student(None), &entries).expect_err("two").to_string();
    assert!(error.contains("`ann` and `ann.zip`") && error.contains("remove one"), "{error}");
    assert_eq!(
        entry(&student(Some("up load.zip")), &entries).expect("one").map(String::as_str),
        Some("up load.zip")
    );
    assert_eq!(entry(&student(Some("none.zip")), &entries).expect("none"), None);
    let bob = Student { id: "bob".to_owned(), ..student(None) };
    assert_eq!(entry(&bob, &entries).expect("one").map(String::as_str), Some("bob.tar.gz"));
}
