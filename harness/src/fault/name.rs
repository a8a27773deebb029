//! The names of faults: `WHO-WHAT`, as in `broker-restart`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::nearest;

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A sender, requester, publisher, ventilator or producer.
    Sender,
    /// A worker of a pipeline.
    Worker,
    /// A receiver, responder, subscriber, sink or consumer.
    Receiver,
    /// The broker.
    Broker,
    /// The proxy in front of the broker, or of the peer that binds.
    Link,
    /// The disk of whatever stores messages.
    Disk,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// kill -9; it is not started again.
    Kill,
    /// kill -9; it is started again on the same data after 0.5 s.
    Restart,
    /// SIGSTOP, and SIGCONT when the fault is over.
    Pause,
    /// All connections are reset; new ones are accepted at once.
    Cut,
    /// All connections are reset, and new ones until the fault is over.
    Refuse,
    /// Everything arrives later.
    Delay,
    /// Few bytes a second pass.
    Throttle,
    /// Nothing passes in one direction.
    Blackhole,
    /// All connections are reset in the middle of a frame.
    Tear,
    /// No space is left.
    Full,
    /// Nothing can be written.
    Readonly,
}

/// A fault, such as `broker-restart`. Only those of [`ALL`] exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fault {
    /// Whom it hits.
    pub who: Who,
    /// What is done to it.
    pub what: What,
}

/// Every fault, by whom it hits.
pub const ALL: [Fault; 20] = {
    use What::*;
    use Who::*;
    const fn fault(who: Who, what: What) -> Fault {
        Fault { who, what }
    }
    [
        fault(Sender, Kill),
        fault(Sender, Restart),
        fault(Sender, Pause),
        fault(Worker, Kill),
        fault(Worker, Restart),
        fault(Worker, Pause),
        fault(Receiver, Kill),
        fault(Receiver, Restart),
        fault(Receiver, Pause),
        fault(Broker, Kill),
        fault(Broker, Restart),
        fault(Broker, Pause),
        fault(Link, Cut),
        fault(Link, Refuse),
        fault(Link, Delay),
        fault(Link, Throttle),
        fault(Link, Blackhole),
        fault(Link, Tear),
        fault(Disk, Full),
        fault(Disk, Readonly),
    ]
};

/// The faults of the scorecard, in the order of its columns.
pub const SCORED: [Fault; 9] = [ALL[0], ALL[1], ALL[6], ALL[7], ALL[10], ALL[11], ALL[12], ALL[16], ALL[17]];

impl Who {
    /// The first word of a fault's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Worker => "worker",
            Self::Receiver => "receiver",
            Self::Broker => "broker",
            Self::Link => "link",
            Self::Disk => "disk",
        }
    }

    /// Whether it is a role, which runs in a process of its own.
    pub const fn is_role(self) -> bool {
        matches!(self, Self::Sender | Self::Worker | Self::Receiver)
    }
}

impl What {
    /// The second word of a fault's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::Refuse => "refuse",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Blackhole => "blackhole",
            Self::Tear => "tear",
            Self::Full => "full",
            Self::Readonly => "readonly",
        }
    }
}

impl Fault {
    /// Whether it lasts as long as a plan says. A restart lasts a fixed time, the others none.
    pub const fn has_length(self) -> bool {
        matches!(
            self.what,
            What::Pause
                | What::Refuse
                | What::Delay
                | What::Throttle
                | What::Blackhole
                | What::Full
                | What::Readonly
        )
    }
}

impl Fault {
    /// What is done, in one line.
    pub const fn does(self) -> &'static str {
        match (self.who, self.what) {
            (Who::Broker, What::Kill) => "kill -9 of the broker, which is not started again",
            (Who::Broker, What::Restart) => "kill -9 of the broker, started again on its data after 0.5 s",
            (_, What::Kill) => "kill -9 of one of two, which is not started again",
            (_, What::Restart) => "kill -9, started again on the same data after 0.5 s",
            (_, What::Pause) => "SIGSTOP, and SIGCONT a second later",
            (_, What::Cut) => "every connection is reset, new ones are accepted at once",
            (_, What::Refuse) => "every connection is reset, new ones are reset for a second",
            (_, What::Delay) => "everything takes 200 ms longer each way, for a second",
            (_, What::Throttle) => "8 KiB a second get through each way, for a second",
            (_, What::Blackhole) => "nothing gets through in one direction, for a second",
            (_, What::Tear) => "every connection is reset in the middle of a frame",
            (_, What::Full) => "nothing more can be stored, for a second",
            (_, What::Readonly) => "nothing can be written, for a second",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.who.as_str(), self.what.as_str()))
    }
}

/// There is no fault of this name. It says the name, the nearest one, and all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFault(pub String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = ALL.iter().map(Fault::to_string).collect();
        write!(f, "there is no fault `{}`", self.0)?;
        if let Some(near) = nearest(&self.0, names.iter().map(String::as_str)) {
            write!(f, "; did you mean `{near}`?")?;
        } else {
            write!(f, ".")?;
        }
        write!(f, " Faults are {}", names.join(", "))
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = ALL.into_iter().find(|fault| fault.to_string() == text);
        found.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::SCORED_FAULTS;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        let mut names: Vec<String> = ALL.iter().map(Fault::to_string).collect();
        for (name, fault) in names.iter().zip(ALL) {
            assert_eq!(name.parse(), Ok(fault));
            let json = serde_json::to_string(&fault).expect("JSON");
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Fault>(&json).expect("a fault"), fault);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(SCORED.map(|fault| fault.to_string()), SCORED_FAULTS);
    }

    #[test]
    fn an_unknown_name_is_named_with_the_nearest_one_and_all() {
        for (text, near) in [
            ("broker-restrat", Some("broker-restart")),
            ("link-tare", Some("link-tear")),
            ("xyz", None),
            ("", None),
            ("link-kill", Some("link-")),
            ("Broker-kill", Some("broker-kill")),
        ] {
            let error = text.parse::<Fault>().expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("disk-readonly"), "{error}");
            let hint = near.map(|near| format!("did you mean `{near}"));
            assert_eq!(error.contains("did you mean"), hint.is_some(), "{error}");
            assert!(hint.is_none_or(|hint| error.contains(&hint)), "{error}");
        }
        let error = serde_json::from_str::<Fault>("\"broker-stop\"").expect_err("unknown").to_string();
        assert!(error.contains("`broker-stop`"), "{error}");
    }

    #[test]
    fn some_faults_last() {
        let lasting: Vec<String> =
            ALL.iter().filter(|fault| fault.has_length()).map(Fault::to_string).collect();
        assert_eq!(
            lasting,
            [
                "sender-pause",
                "worker-pause",
                "receiver-pause",
                "broker-pause",
                "link-refuse",
                "link-delay",
                "link-throttle",
                "link-blackhole",
                "disk-full",
                "disk-readonly"
            ]
        );
    }
}
