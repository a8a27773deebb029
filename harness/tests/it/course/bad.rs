//! Programs that cannot be judged: each gets a sentence that names the cause and the next step, is
//! ended with all its children, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::folder::{Folder, PYTHON, check, checked};
use crate::needs::{Need, needs};
use crate::program::run;
use crate::{trial, wait_until};

pub(super) fn trials() -> Vec<Trial> {
    let python = || Need::Program("python3", "python3");
    vec![
        needs(python(), "course::bad_programs_are_explained", programs),
        needs(python(), "course::children_of_a_program_end_with_it", children),
        trial("course::what_does_not_start_is_explained", starts),
        trial("course::wrong_words_are_usage_errors", usage),
    ]
}

/// A program without the helper: its text, what the cause names, and what the next step names.
const PROGRAMS: [(&str, &str, &str, &str); 11] = [
    ("ends at once", "raise SystemExit(3)", "before it said `ready`", "start it by hand"),
    ("fails", "import sys\nsys.exit('no such thing')", "no such thing", "look at its log"),
    (
        "prints text",
        "print('hello', flush=True)\nimport time\ntime.sleep(60)",
        "printed `hello` on stdout",
        "print everything else to stderr",
    ),
    ("prints a list", "print('[1]', flush=True)\nimport time\ntime.sleep(60)", "not a JSON object", "stderr"),
    (
        "does not flush",
        "import sys, time\nprint('{\"type\": \"ready\"}')\nfor line in sys.stdin:\n    if 'stop' in line: break",
        "does not flush stdout",
        "flush after every line",
    ),
    ("never ends to think", "while True: pass", "used a processor for", "a loop that never ends"),
    (
        "another kind of line",
        "print('{\"type\": \"redy\"}', flush=True)\nimport time\ntime.sleep(60)",
        "`redy`",
        "the types are ready",
    ),
    (
        "goes elsewhere",
        "import sys\nprint('{\"type\": \"ready\"}', flush=True)\nfor line in sys.stdin:\n    if 'stop' in line: \
         break\nprint('{\"type\": \"bye\"}', flush=True)",
        "never connected to the endpoint 127.0.0.1:",
        "take host and port from `init`",
    ),
    (
        "hangs at the end",
        "import json, socket, sys, time\ninit = json.loads(sys.stdin.readline())\nhost, port = \
         init['endpoint'].split(':')\nkept = socket.create_connection((host, int(port)))\n\
         print('{\"type\": \"ready\"}', flush=True)\ntime.sleep(60)",
        "did not end within 5 s after `stop`",
        "say `bye`",
    ),
    (
        "writes without end",
        "import os, time\nprint('{\"type\": \"ready\"}', flush=True)\nnumber = 0\nwhile True:\n    \
         open(f'junk-{number}', 'wb').write(bytes(1 << 20)); number += 1",
        "MB into its folder",
        "grows without a bound",
    ),
    (
        "starts processes without end",
        "import os, time\nprint('{\"type\": \"ready\"}', flush=True)\nwhile True:\n    try:\n        \
         if os.fork() == 0: time.sleep(60)\n    except OSError: time.sleep(0.1)",
        "processes",
        "starts processes",
    ),
];

fn programs() -> Result<()> {
    for (name, program, cause, next) in PROGRAMS {
        let folder = Folder::with(PYTHON, "first-message", program)?;
        let found = check(folder.path(), PYTHON, "first-message", &["--seed", "1", "--no-shrink"])?;
        let trouble = &found.said["trouble"];
        let said = |field: &str| trouble[field].as_str().unwrap_or_default().to_owned();
        ensure!(found.code == 1 && found.broken().contains(&"runs"), "{name}: {}", found.about());
        ensure!(said("cause").contains(cause), "{name}: the cause is `{}`", said("cause"));
        ensure!(said("next").contains(next), "{name}: the next step is `{}`", said("next"));
    }
    Ok(())
}

/// A child that leaves its parent's group and session.
const CHILD: &str = "import os, sys, time\npid = os.fork()\nif pid == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
    open(os.environ['TMPDIR'] + '/../../../../' + 'PATH', 'w').write(str(os.getpid()))\n        time.sleep(600)\n    \
    os._exit(0)\nprint('{\"type\": \"ready\"}', flush=True)\nfor line in sys.stdin: pass";

fn children() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let path = kept.path().join("pid");
    let at = "os.environ['TMPDIR'] + '/../../../../' + 'PATH'";
    let program = CHILD.replace(at, &format!("'{}'", path.display()));
    let folder = Folder::with(PYTHON, "first-message", &program)?;
    let found = check(folder.path(), PYTHON, "first-message", &["--seed", "1", "--no-shrink"])?;
    ensure!(found.code == 1, "{}", found.about());
    let pid: u32 = fs::read_to_string(&path).context("the child did not run")?.parse()?;
    wait_until("the child has ended", || Ok(!harness::process::runs(pid)))
}

fn starts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let plain = dir.path().join("plain");
    fs::write(&plain, "not a program")?;
    let broken = dir.path().join("broken");
    fs::write(&broken, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755))?;
    for (program, cause, next) in [
        ("/no/such/program".to_owned(), "does not start", "check the path"),
        (plain.display().to_string(), "does not start", "chmod +x"),
        (broken.display().to_string(), "does not start", "first line of a script"),
    ] {
        let found = checked(&["check", "first-message", "--program", &program, "--json"])?;
        let trouble = found.said["trouble"].to_string();
        ensure!(
            found.code == 1 && trouble.contains(cause) && trouble.contains(next),
            "{program}: {trouble} {}",
            found.err
        );
    }
    Ok(())
}

fn usage() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let dir = empty.path().display().to_string();
    for (words, told) in [
        (&["check", "frist-message"][..], &["`frist-message`", "did you mean `first-message`?"][..]),
        (
            &["check", "first-message", "--dir", &dir],
            &["there is no program for first-message", "exercises first-message"],
        ),
        (
            &["check", "first-message", "--dir", &dir, "--lang", "rust"],
            &["there is no program", "--lang rust"],
        ),
        (&["check", "first-message", "--lang", "cobol"], &["cobol", "python"]),
        (&["check", "first-message", "--times", "0"], &["`--times 0`"]),
        (&["check", "--program", "true"], &["--program needs the name of an exercise"]),
        (&["check", "first-message", "--program", "'open"], &["`--program 'open`"]),
        (&["solution", "first-message", "--dir", &dir], &["is not passed yet", "hint first-message"]),
        (
            &["exercises", "rooms", "--dir", &dir, "--lang", "javascript"],
            &["has no starter in javascript", "python"],
        ),
        (&["watch", "rooms", "--dir", &dir], &["there is no program for rooms"]),
    ] {
        run(words)?.expect(2)?.told(told)?;
    }
    Ok(())
}
