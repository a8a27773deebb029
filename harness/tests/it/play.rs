//! `lab play` without a broker: peers that come and go, and the commands that it shows for
//! other terminals.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::addresses::run_with_input;
use crate::program::{Live, run};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("play::a_receiver_goes_on_when_everybody_has_left", goes_on),
        trial("play::roles_of_a_pipeline_hand_their_addresses_on", hands_on),
        trial("play::a_requester_sees_which_question_is_answered", asked),
    ]
}

/// What follows the last `lab` on the line that begins with `in another terminal`.
fn shown(live: &Live) -> Result<Vec<String>> {
    let said = live.said();
    let line = said.lines().filter_map(|line| line.split_once("in another terminal: lab ")).next_back();
    Ok(line.context("no command is shown")?.1.split_whitespace().map(str::to_owned).collect())
}

/// Starts what another terminal shows.
fn start(words: &[String]) -> Result<Live> {
    let mut command = crate::lab(&words.iter().map(String::as_str).collect::<Vec<_>>());
    // At the end of its input a role leaves.
    command.stdin(Stdio::piped());
    Live::spawn(command)
}

fn goes_on() -> Result<()> {
    let mut receiver = Live::start(&["play", "oneway-tcp", "receiver"])?;
    receiver.until_said("in another terminal")?;
    let words = shown(&receiver)?;
    let sender: Vec<&str> = words.iter().map(String::as_str).collect();
    let address = words.last().context("no address")?;
    let mut lines = receiver.lines()?;
    for text in ["one", "two"] {
        run_with_input(&sender, &format!("{text}\n"))?.expect(0)?;
        let line = lines.next().context("the receiver has ended")??;
        ensure!(line == text, "`{line}` came, and not `{text}`");
        receiver.until_said("every sender has closed; others may connect")?;
        // A port scanner comes and goes.
        drop(TcpStream::connect(address)?);
    }
    Ok(())
}

fn hands_on() -> Result<()> {
    let mut ventilator = start(&["play", "pipeline-tcp", "ventilator"].map(str::to_owned))?;
    ventilator.until_said("in another terminal")?;
    let words = shown(&ventilator)?;
    ensure!(words[..3] == ["play", "pipeline-tcp", "sink"], "{words:?}");
    let mut sink = start(&words)?;
    sink.until_said("in another terminal")?;
    let words = shown(&sink)?;
    ensure!(words[..3] == ["play", "pipeline-tcp", "worker"], "{words:?}");
    let times = sink.said().matches("in another terminal").count();
    ensure!(times == 1, "the command is shown {times} times:\n{}", sink.said());
    start(&words)?.until_said("worker is ready")?;

    let tasks = words[4].split(',').find(|at| at.starts_with("tasks=")).context("no address of tasks")?;
    run(&["play", "pipeline-tcp", "worker", "--at", tasks])?
        .expect(2)?
        .told(&["missing: results, control", "`lab play pipeline-tcp sink`"])
}

/// A role that is told what to do.
struct Told {
    child: Child,
    input: ChildStdin,
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn asked() -> Result<()> {
    let mut command = crate::lab(&["play", "reqrep-tcp", "responder"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let input = child.stdin.take().context("no stdin")?;
    let (said, heard) =
        (child.stderr.take().context("no stderr")?, child.stdout.take().context("no stdout")?);
    let mut responder = Told { child, input };
    let mut said = BufReader::new(said).lines();
    let line = said
        .find(|line| line.as_ref().is_ok_and(|line| line.contains("in another terminal")))
        .context("no command is shown")??;
    let at = line.rsplit_once(' ').context("no address")?.1.to_owned();
    let asking = std::thread::spawn(move || {
        run_with_input(&["play", "reqrep-tcp", "requester", "--at", &at], "who?\n")
    });
    let mut requests = BufReader::new(heard).lines();
    let request = requests.next().context("no request came")??;
    ensure!(request == "who?", "{request}");
    writeln!(responder.input, "me")?;
    responder.input.flush()?;
    let ran = asking.join().map_err(|_| anyhow::anyhow!("the requester panicked"))??.expect(0)?;
    ensure!(ran.out == "me\n", "{:?}", ran.out);
    ran.told(&["reply to `who?`:"])
}
