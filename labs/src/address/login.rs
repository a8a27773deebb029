//! Who connects: a user and a password, which are never shown.

use std::fmt;

/// A user, with a password unless the user is a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: Option<String>,
}

impl Login {
    pub(super) fn new(user: String, password: Option<String>) -> Self {
        Self { user, password }
    }

    /// User and password, for the client that connects and for nothing else.
    pub fn reveal(&self) -> (&str, Option<&str>) {
        (&self.user, self.password.as_deref())
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Host, port and login of one protocol at a broker, for clients that want them in pieces.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; an IPv6 address is without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl Endpoint {
    /// The host as it stands before a colon and a port: an IPv6 address is in brackets.
    pub fn host_in_url(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host_in_url(), self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.login.is_some() { "…@" } else { "" };
        write!(f, "{login}{self}")
    }
}
