//! A row of `table.rs`, and how it is written.

use super::entry::{Entry, Particular, Pattern};
use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Knob, Overload, Recovery};

/// An [`Entry`] as a constant.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) pattern: Pattern,
    pub(super) transport: &'static str,
    pub(super) variant: Option<&'static str>,
    pub(super) broker: Option<Broker>,
    pub(super) broker_since: Option<(u32, u32)>,
    pub(super) broker_features: &'static [BrokerFeature],
    pub(super) guarantee: Guarantee,
    pub(super) overload: Overload,
    pub(super) join: Join,
    pub(super) recovery: Recovery,
    pub(super) knobs: &'static [Knob],
    pub(super) source: &'static str,
    pub(super) particular: Particular,
}

impl Row {
    /// The entry of a lab that this build does not have.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            name: self.name.to_owned(),
            pattern: self.pattern,
            transport: self.transport,
            variant: self.variant,
            broker: self.broker,
            broker_since: self.broker_since,
            broker_features: self.broker_features,
            guarantee: self.guarantee,
            overload: self.overload,
            join: self.join,
            recovery: self.recovery,
            knobs: self.knobs,
            source: self.source.to_owned(),
            particular: self.particular,
            built_in: false,
        }
    }
}

/// The source of `table.rs`.
pub(super) fn source(entries: &[Entry]) -> String {
    let particular = |particular: Particular| match particular {
        // The kinds' names alone would be written, and not where they are.
        Particular::Filters(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("FilterKind::{kind:?}")).collect();
            format!("Filters(&[{}])", kinds.join(", "))
        }
        Particular::Matching(matching) => format!("Matching(Matching::{matching:?})"),
        Particular::Sharing(sharing) => format!("Sharing(Sharing::{sharing:?})"),
        Particular::Confirmed(confirmed) => format!("Confirmed(Confirmed::{confirmed:?})"),
        Particular::None => "None".to_owned(),
    };
    let mut text = format!(
        "//! The labs as a build without their transports lists them. Written by `lab book`; a test compares \
         it with the labs.\n\n\
         use super::entry::{{Particular, Pattern}};\nuse super::row::Row;\n\
         use crate::lab::{{Broker, BrokerFeature, Guarantee, Join, Knob, Overload, Recovery}};\nuse crate::pipeline::Sharing;\n\
         use crate::queue::Confirmed;\nuse crate::reqrep::Matching;\nuse crate::topic::FilterKind;\n\n\
         #[rustfmt::skip]\npub(super) const TABLE: [Row; {}] = [\n",
        entries.len()
    );
    for entry in entries {
        let knob = |knob: &Knob| {
            let weaker = |(value, guarantee)| format!(".weaker_at({value}, Guarantee::{guarantee:?})");
            let weaker = knob.weaker.map(weaker).unwrap_or_default();
            format!("Knob::new({:?}, {}, {:?}){weaker}", knob.name, knob.default, knob.meaning)
        };
        let knobs: Vec<String> = entry.knobs.iter().map(knob).collect();
        let feature = |feature: &BrokerFeature| format!("BrokerFeature::{feature:?}");
        let features: Vec<String> = entry.broker_features.iter().map(feature).collect();
        let broker = entry.broker.map_or("None".to_owned(), |broker| format!("Some(Broker::{broker:?})"));
        text.push_str(&format!(
            "    Row {{ name: {:?}, pattern: Pattern::{:?}, transport: {:?}, variant: {:?}, broker: {broker}, broker_since: {:?}, \
             broker_features: &[{}], guarantee: Guarantee::{:?}, overload: Overload::{:?}, join: Join::{:?}, recovery: Recovery::{:?}, knobs: &[{}], source: {:?}, \
             particular: Particular::{} }},\n",
            entry.name,
            entry.pattern,
            entry.transport,
            entry.variant,
            entry.broker_since,
            features.join(", "),
            entry.guarantee,
            entry.overload,
            entry.join,
            entry.recovery,
            knobs.join(", "),
            entry.source,
            particular(entry.particular),
        ));
    }
    text + "];\n"
}
