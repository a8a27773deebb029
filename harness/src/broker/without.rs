//! Stands in for brokers whose client library this build does not have: they can be
//! found and installed, and neither started nor asked.

macro_rules! without {
    ($($broker:ident: $feature:literal),*) => {$(
        #[cfg(not(feature = $feature))]
        pub(super) mod $broker {
            use std::path::Path;

            use anyhow::{Result, bail};

            use crate::broker::private::Private;
            use crate::broker::private_options::{About, Options};

            const WHY: &str = concat!(
                "this build of `lab` has no client for it; build it with `--features ", $feature, "`, or run ",
                "`./run` with the command, which builds what it needs"
            );

            pub(in crate::broker) fn launch(_: &Path, _: &Options<'_>) -> Result<Private> {
                bail!(WHY)
            }

            pub(in crate::broker) async fn ask(_: &str, _: Option<&Private>) -> Result<About> {
                bail!(WHY)
            }
        }
    )*};
}
without!(redis: "redis", rabbitmq: "rabbitmq");
