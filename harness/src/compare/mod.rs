//! How measurements compare: two programs ([`regress`]), two runs of the same plan
//! ([`reproducibility`]), and all bundles of one host over time ([`history`]).

pub mod history;
pub mod regress;
pub mod reproducibility;
