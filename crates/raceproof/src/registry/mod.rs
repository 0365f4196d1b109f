//! Instances by name: one breaker `payments` in the whole process, whoever asks for it first.
//!
//! Owns: which instances there are, what each was built with, and where its configuration comes from. Refuses: a name
//! for two configurations, and a name for two types. Decides nothing about what the instances do.
//!
//! Building is done once, also when many ask at the same moment. Everything that is asked for by name stays until the
//! registry goes.

mod error;
mod instance;
#[cfg(feature = "prometheus")]
mod prometheus;
mod room;
mod rooms;
#[cfg(feature = "serde")]
mod serialize;
mod stats;
#[cfg(test)]
mod tests;

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError};

pub use self::error::RegistryError;
use self::instance::{AnyHandle, Handle};
#[cfg(feature = "prometheus")]
pub use self::prometheus::Metrics;
pub use self::room::Room;
pub use self::stats::{Metric, Observed, Stats, Value};
#[cfg(feature = "config")]
use crate::config::Config;
use crate::handle::Raceproof;
use crate::sync::{Mutex, MutexGuard};

/// Instances by name. Clones share them.
///
/// ```
/// use raceproof::registry::Registry;
///
/// let registry = Registry::new();
/// let breaker = registry.breaker("payments");
/// breaker.open();
/// assert_eq!(registry.breaker("payments").state(), breaker.state());
/// ```
///
/// A look-up takes a lock for a moment; keep the handle where it is used often.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    #[cfg(feature = "config")]
    config: Config,
    entries: Mutex<BTreeMap<(Room, Arc<str>), Entry>>,
    /// Made when the first lock or semaphore is asked for.
    coordinator: OnceLock<Raceproof>,
}

/// An instance: its handle and what it was built with.
struct Entry {
    handle: Arc<dyn AnyHandle>,
    built_with: Option<Box<dyn Configuration>>,
}

/// What instances are compared by.
trait Configuration: Any + Send + Sync + fmt::Debug {
    fn is(&self, other: &dyn Any) -> bool;
}

impl<C: PartialEq + fmt::Debug + Any + Send + Sync> Configuration for C {
    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<C>() == Some(self)
    }
}

/// An instance of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Which room it is of.
    pub room: Room,
    /// Its name.
    pub name: Arc<str>,
    /// What it was built with; none for what was built elsewhere and registered.
    pub configuration: Option<String>,
}

static GLOBAL: OnceLock<Registry> = OnceLock::new();

impl Registry {
    /// A registry without instances, whose instances are built by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry without instances, whose instances are built as the configuration says.
    #[cfg(feature = "config")]
    #[must_use]
    pub fn configured(config: Config) -> Self {
        Self { inner: Arc::new(Inner { config, ..Inner::default() }) }
    }

    /// The registry of this process: the one that [`set_global`](Self::set_global) was given, else one that is built
    /// by default when it is first asked for.
    #[must_use]
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(Self::new)
    }

    /// Makes this the registry of the process. To be done once, before anybody asks for it.
    ///
    /// # Errors
    /// The registry, if the process has one already.
    pub fn set_global(registry: Self) -> Result<(), Self> {
        GLOBAL.set(registry)
    }

    /// What instances are built with.
    #[cfg(feature = "config")]
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Every instance, by room and name.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let entries = self.entries();
        let listed = entries.iter().map(|((room, name), entry)| Listed {
            room: *room,
            name: Arc::clone(name),
            configuration: entry.built_with.as_ref().map(|configuration| format!("{configuration:?}")),
        });
        listed.collect()
    }

    /// What every instance tells, by room and name.
    #[must_use]
    pub fn stats(&self) -> Vec<Observed> {
        let handles: Vec<_> = self
            .entries()
            .iter()
            .map(|((room, name), entry)| (*room, Arc::clone(name), Arc::clone(&entry.handle)))
            .collect();
        // Asked without the registry's lock: each has locks of its own.
        let observed = handles.into_iter().map(|(room, name, handle)| Observed { room, name, stats: handle.observe() });
        observed.collect()
    }

    /// The instance of this name, which is built if there is none. `asked` is the configuration that somebody insists
    /// on; without one, an instance is taken as it is.
    fn get_or_build<H, C>(
        &self,
        room: Room,
        name: &str,
        asked: Option<C>,
        default: impl FnOnce() -> C,
        build: impl FnOnce(&C) -> H,
    ) -> Result<H, RegistryError>
    where
        H: Handle,
        C: PartialEq + fmt::Debug + Any + Send + Sync,
    {
        // Held while it is built, so that it is built once. No room's constructor runs code of others.
        let mut entries = self.entries();
        let key = (room, Arc::from(name));
        if let Some(entry) = entries.get(&key) {
            return entry.handle(room, name, asked.as_ref());
        }
        let configuration = asked.unwrap_or_else(default);
        let handle = build(&configuration);
        let built_with: Option<Box<dyn Configuration>> = Some(Box::new(configuration));
        entries.insert(key, Entry { handle: Arc::new(handle.clone()), built_with });
        Ok(handle)
    }

    /// Takes up what was built elsewhere.
    fn insert<H: Handle>(&self, room: Room, name: &str, handle: H) -> Result<(), RegistryError> {
        let mut entries = self.entries();
        let key = (room, Arc::from(name));
        if entries.contains_key(&key) {
            return Err(RegistryError::Taken { room, name: name.to_owned() });
        }
        entries.insert(key, Entry { handle: Arc::new(handle), built_with: None });
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<(Room, Arc<str>), Entry>> {
        // An instance is inserted whole or not at all.
        self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn handle<H: Handle, C: fmt::Debug + Any>(
        &self,
        room: Room,
        name: &str,
        asked: Option<&C>,
    ) -> Result<H, RegistryError> {
        let any: &dyn Any = &*self.handle;
        let Some(handle) = any.downcast_ref::<H>() else {
            let (is, asked) = (self.handle.type_name(), type_name::<H>());
            return Err(RegistryError::Type { room, name: name.to_owned(), is, asked });
        };
        match (asked, &self.built_with) {
            (Some(asked), built) if !built.as_ref().is_some_and(|built| built.is(asked)) => {
                Err(RegistryError::Conflict {
                    room,
                    name: name.to_owned(),
                    built: built.as_ref().map_or_else(|| "one of its own".to_owned(), |built| format!("{built:?}")),
                    asked: format!("{asked:?}"),
                })
            }
            _ => Ok(handle.clone()),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries();
        f.debug_list().entries(entries.keys().map(|(room, name)| format!("{room} {name:?}"))).finish()
    }
}
