//! One effect for each message: under duplicates, replays, restarts and kills in mid-write.

use crate::recovery::Remembered;

/// Does the effect of a message that it has not seen.
fn handle(remembered: &mut Remembered, effects: &mut Vec<u8>, id: u8) {
    let effect = || {
        effects.push(id);
        Ok(())
    };
    remembered.once(&[id], effect).expect("the memory can be written");
}

#[test]
fn a_message_has_one_effect() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("memory");
    for (what, comes) in [
        ("duplicates", vec![1, 1, 2, 2, 2, 3]),
        ("a replay", vec![1, 2, 3, 1, 2, 3]),
        ("another order", vec![3, 1, 2, 1, 3, 2]),
    ] {
        let _ = std::fs::remove_file(&file);
        let mut effects = Vec::new();
        // A restart after each message.
        for id in comes {
            let mut remembered = Remembered::open(&file, 10).expect("a memory");
            handle(&mut remembered, &mut effects, id);
        }
        effects.sort_unstable();
        assert_eq!(effects, [1, 2, 3], "{what}");
    }
}

#[test]
fn the_memory_is_bounded_and_forgets_the_oldest() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("memory");
    let mut remembered = Remembered::open(&file, 4).expect("a memory");
    for id in 0..100u8 {
        remembered.insert(&[id]).expect("written");
        let lines = std::fs::read_to_string(&file).expect("text").lines().count();
        assert!(lines <= 8, "{lines} lines");
    }
    for remembered in [remembered, Remembered::open(&file, 4).expect("a memory")] {
        let known: Vec<u8> = (0..100u8).filter(|id| remembered.contains(&[*id])).collect();
        assert_eq!(known, [96, 97, 98, 99]);
    }
}

#[test]
fn a_line_without_its_end_does_not_count() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("memory");
    std::fs::write(&file, "61\n62").expect("written");
    let mut remembered = Remembered::open(&file, 4).expect("a memory");
    assert!(remembered.contains(b"a") && !remembered.contains(b"b"));
    remembered.insert(b"c").expect("written");
    assert_eq!(std::fs::read_to_string(&file).expect("text"), "61\n63\n");
}

#[test]
fn a_failed_effect_is_not_remembered_and_another_file_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut remembered = Remembered::in_memory(4);
    let failed = remembered.once(b"x", || Err::<(), _>(anyhow::anyhow!("no")));
    assert!(failed.is_err() && !remembered.contains(b"x"));
    let file = dir.path().join("letter");
    for text in ["dear all\n", "6\n", "zz\n"] {
        std::fs::write(&file, text).expect("written");
        let error = Remembered::open(&file, 4).expect_err("another file").to_string();
        assert!(error.contains(text.trim()) && error.contains("letter"), "{error}");
    }
}
