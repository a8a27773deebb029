//! The place where a lab runs: the address of the broker or of the peers, a name, the knobs.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

use crate::address::{BrokerAddress, Endpoint};
use crate::incidents::{Incident, Incidents};
use crate::knob::Knob;

/// The environment variable that names the folder of this session: what is in it is removed
/// when the session ends, whatever the end is.
pub const SESSION: &str = "LAB_SESSION";
/// The same on a disk, for what is to outlive the process that wrote it, and not the session.
pub const SESSION_STATE: &str = "LAB_SESSION_STATE";

/// The folder for files that live as long as the program, as sockets do: the session's, or
/// else one of this user.
pub fn session_folder() -> PathBuf {
    let existing = |name: &str| absolute(name).filter(|folder| folder.is_dir());
    existing(SESSION).or_else(|| existing("XDG_RUNTIME_DIR")).unwrap_or_else(std::env::temp_dir)
}

/// The folder for files that outlive a program, and a restart of the machine: with the user's
/// other state, unless the session has a folder for them.
pub fn state_folder() -> PathBuf {
    absolute(SESSION_STATE)
        .or_else(|| absolute("XDG_STATE_HOME"))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Where a run happens: the broker's address, or a directory of peers; a name
/// no other run uses; the knobs.
///
/// Peer to peer, one side binds port 0 and calls [`Place::announce`]; the other
/// awaits [`Place::peers`]. Binders are: receiver, responder, publisher,
/// ventilator, sink, producer. In-process labs share what [`Place::registered`] gives.
#[derive(Clone)]
pub struct Place {
    name: String,
    namespace: String,
    role: String,
    address: Option<Arc<BrokerAddress>>,
    bind: Arc<BTreeMap<String, String>>,
    directory: Arc<Directory>,
    knobs: Arc<Knobs>,
    registry: Arc<Registry>,
    incidents: Arc<Incidents>,
    joined_before: bool,
}

impl Place {
    /// A place called `name`; no other run may use it. `address` is the broker's,
    /// where the lab has a broker.
    ///
    /// Addresses announced here are told to its own peers at once, which is
    /// what roles in one process want; see [`Place::with_directory`].
    pub fn new(name: &str, address: Option<&BrokerAddress>) -> Self {
        Self {
            name: name.to_owned(),
            namespace: String::new(),
            role: "role".to_owned(),
            address: address.map(|address| Arc::new(address.clone())),
            bind: Arc::default(),
            directory: Arc::new(Directory::local(1)),
            knobs: Arc::default(),
            registry: Arc::default(),
            incidents: Arc::default(),
            joined_before: false,
        }
    }

    /// The same place, for a role that has lost its connection and joins again.
    pub fn joining_again(&self) -> Self {
        Self { joined_before: true, ..self.clone() }
    }

    /// Whether the role has joined before: it was given what was there then.
    pub fn joined_before(&self) -> bool {
        self.joined_before
    }

    /// Uses `directory` for announcements and peers.
    pub fn with_directory(mut self, directory: Arc<Directory>) -> Self {
        self.directory = directory;
        self
    }

    /// Sets knobs from outside; a lab that asks for one gets this value.
    pub fn with_knobs(mut self, set: BTreeMap<String, usize>) -> Self {
        self.knobs = Arc::new(Knobs { set, read: Mutex::default() });
        self
    }

    /// Shares in-process objects with every place that has the same `registry`.
    pub fn with_registry(mut self, registry: Arc<Registry>) -> Self {
        self.registry = registry;
        self
    }

    /// Says which role this is (`subscriber-1`): unique in the run. Its incidents are its own.
    pub fn with_role(mut self, role: &str) -> Self {
        role.clone_into(&mut self.role);
        self.incidents = Arc::default();
        self
    }

    /// The addresses to bind, by namespace: a restarted binder gets its old one.
    pub fn with_bind(mut self, bind: BTreeMap<String, String>) -> Self {
        self.bind = Arc::new(bind);
        self
    }

    /// A namespace in this place, with its own addresses and names: a pipeline
    /// has the namespaces `tasks`, `results` and `control`.
    pub fn namespace(&self, namespace: &str) -> Self {
        let namespace = if self.namespace.is_empty() {
            namespace.to_owned()
        } else {
            format!("{}.{namespace}", self.namespace)
        };
        Self { namespace, ..self.clone() }
    }

    /// The name of this place (and namespace): for queues, channels, exchanges, keys.
    pub fn name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}.{}", self.name, self.namespace)
        }
    }

    /// Which role this is; unique in the run.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The broker's address. It shows no password: who connects asks it for its parts.
    pub fn broker(&self) -> Result<&BrokerAddress> {
        self.address.as_deref().context("this lab needs a broker, but the place has no address of one")
    }

    /// The host and port where the broker speaks a protocol, and the user and password for it.
    pub fn endpoint(&self, protocol: &str) -> Result<Endpoint> {
        self.broker()?.endpoint(protocol)
    }

    /// The address a peer-to-peer lab binds: a free port on loopback, or the
    /// one this role had before it was restarted.
    pub fn bind_address(&self) -> &str {
        self.bind.get(&self.namespace).map_or("127.0.0.1:0", String::as_str)
    }

    /// Tells the other roles where this one listens.
    pub fn announce(&self, address: impl fmt::Display) {
        self.directory.announce(&self.namespace, address.to_string());
    }

    /// The addresses of all binders of this namespace, once they are known.
    pub async fn peers(&self) -> Result<Vec<String>> {
        self.directory.peers(&self.namespace).await
    }

    /// The only binder's address; an error where there are several.
    pub async fn peer(&self) -> Result<String> {
        match <[String; 1]>::try_from(self.peers().await?) {
            Ok([address]) => Ok(address),
            Err(several) => {
                bail!("this lab connects to one peer, but there are {}: {several:?}", several.len())
            }
        }
    }

    /// The addresses of the binders, if they are known now.
    pub fn known_peers(&self) -> Option<Vec<String>> {
        self.directory.told.borrow().get(&self.namespace).cloned()
    }

    /// The value of a knob: what was set from outside, else its default.
    /// Whatever a lab reads here is recorded with the result, and stands in the
    /// lab's [`Lab::KNOBS`](crate::lab::Lab::KNOBS).
    pub fn knob(&self, knob: Knob) -> usize {
        let value = self.knobs.set.get(knob.name).copied().unwrap_or(knob.default);
        let mut read = lock(&self.knobs.read);
        if !read.contains(&(knob, value)) {
            read.push((knob, value));
        }
        value
    }

    /// Every knob that was read so far, with its value.
    pub fn knobs_read(&self) -> BTreeMap<String, usize> {
        lock(&self.knobs.read).iter().map(|(knob, value)| (knob.name.to_owned(), *value)).collect()
    }

    /// The same knobs as they were asked for, each declaration once.
    pub fn knobs_asked(&self) -> Vec<Knob> {
        lock(&self.knobs.read).iter().map(|(knob, _)| *knob).collect()
    }

    /// A peer broke the protocol and was disconnected; `why` says how, for people. A peer that
    /// just closes its connection is not an incident.
    pub fn peer_disconnected(&self, why: impl fmt::Display) {
        self.incidents.add(Incident::PeerDisconnected, &why);
    }

    /// A message that no lab wrote was skipped; `why` says what is wrong with it, for people.
    /// Where it would come again, acknowledge it first.
    pub fn message_skipped(&self, why: impl fmt::Display) {
        self.incidents.add(Incident::MessageSkipped, &why);
    }

    /// The connection to the broker or the peer was lost, and will be opened again; `why` says how
    /// it was noticed, for people.
    pub fn connection_lost(&self, why: impl fmt::Display) {
        self.incidents.add(Incident::ConnectionLost, &self.masked(why));
    }

    /// A lost connection is open again, and the role has joined again; `why` says what it took,
    /// for people.
    pub fn reconnected(&self, why: impl fmt::Display) {
        self.incidents.add(Incident::Reconnected, &self.masked(why));
    }

    /// A reason without the password of the broker's address: a broker may have repeated it.
    fn masked(&self, why: impl fmt::Display) -> String {
        let why = why.to_string();
        self.address.as_ref().map_or_else(|| why.clone(), |address| address.without_secrets(&why))
    }

    /// How many peers this role has disconnected, and how many messages it has skipped.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// The `T` that the registry has under this place's name: the same object for
    /// every role of the process. Who asks first makes it.
    pub fn registered<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut objects = lock(&self.registry.objects);
        let object = objects
            .entry((self.name(), TypeId::of::<T>()))
            .or_insert_with(|| Arc::new(make()) as Arc<dyn Any + Send + Sync>);
        Arc::clone(object).downcast().unwrap_or_else(|_| unreachable!("the key holds the type"))
    }

    /// Takes what this place and its namespaces have out of the registry.
    pub fn unregister(&self) {
        let name = self.name();
        let inside = format!("{name}.");
        lock(&self.registry.objects).retain(|(key, _), _| *key != name && !key.starts_with(&inside));
    }
}

#[derive(Default)]
struct Knobs {
    set: BTreeMap<String, usize>,
    read: Mutex<Vec<(Knob, usize)>>,
}

/// The in-process registry: objects that roles of one process share, by name and type.
#[derive(Default)]
pub struct Registry {
    objects: Mutex<HashMap<(String, TypeId), Arc<dyn Any + Send + Sync>>>,
}

/// The addresses of binders. Roles announce theirs; the supervisor of the run collects the
/// announcements of all binders and tells all roles.
pub struct Directory {
    announced: watch::Sender<Vec<(String, String)>>,
    told: watch::Sender<BTreeMap<String, Vec<String>>>,
    /// The number of binders of a namespace, if announcements are passed on without a supervisor.
    local: Option<usize>,
}

impl Directory {
    /// A directory that passes announcements on by itself: `binders` roles of one
    /// process share it, and peers are known when that many have announced.
    pub fn local(binders: usize) -> Self {
        Self { announced: watch::Sender::default(), told: watch::Sender::default(), local: Some(binders) }
    }

    /// A directory that is filled from outside, through [`Directory::tell`].
    pub fn supervised() -> Self {
        Self { local: None, ..Self::local(0) }
    }

    fn announce(&self, namespace: &str, address: String) {
        self.announced.send_modify(|list| list.push((namespace.to_owned(), address)));
        if let Some(binders) = self.local {
            let list = self.announced.borrow().clone();
            let here: Vec<String> =
                list.into_iter().filter(|(p, _)| p == namespace).map(|(_, a)| a).collect();
            if here.len() >= binders {
                self.tell(namespace, here);
            }
        }
    }

    /// What this process's roles have announced, `(namespace, address)`, as it grows.
    pub fn announcements(&self) -> watch::Receiver<Vec<(String, String)>> {
        self.announced.subscribe()
    }

    /// Tells waiting roles the addresses of all binders of a namespace.
    pub fn tell(&self, namespace: &str, addresses: Vec<String>) {
        self.told.send_modify(|told| {
            told.insert(namespace.to_owned(), addresses);
        });
    }

    async fn peers(&self, namespace: &str) -> Result<Vec<String>> {
        let mut told = self.told.subscribe();
        let told = told.wait_for(|told| told.contains_key(namespace)).await.context("the run is over")?;
        Ok(told[namespace].clone())
    }
}

/// A poisoned lock here guards plain data that is valid after every statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
