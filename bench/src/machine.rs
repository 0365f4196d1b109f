//! What the figures were taken on.

use std::fmt;
use std::path::Path;

use raceproof_bench_common::host::{Host, first_line};
use serde::Serialize;

use crate::kind::Family;
use crate::server::{Site, ZOOKEEPER_JAR, program};

/// The machine and the versions of what runs on it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    #[serde(flatten)]
    host: Host,
    file_system: String,
    versions: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look(site: &Site) -> Self {
        let versions = [
            ("raceproof", version(site, Family::Raceproof, &["--version"])),
            ("etcd", version(site, Family::Etcd, &["--version"])),
            ("redis", version(site, Family::Redis, &["--version"])),
            ("postgres", version(site, Family::Postgres, &["--version"])),
            ("zookeeper", zookeeper_version()),
            ("java", version(site, Family::Zookeeper, &["--version"])),
        ];
        Self {
            host: Host::look(),
            file_system: first_line(Path::new("stat"), &["-f", "-c", "%T", &site.data.display().to_string()])
                .unwrap_or_default(),
            versions: versions.into_iter().filter_map(|(name, version)| Some((name, version?))).collect(),
        }
    }

    /// Whether a sync of the data directory reaches no disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

/// In a few lines.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, data on {}", self.host, self.file_system)?;
        self.versions.iter().try_for_each(|(name, version)| writeln!(f, "- {name}: {version}"))
    }
}

fn version(site: &Site, family: Family, args: &[&str]) -> Option<String> {
    first_line(&program(site, family).ok()?, args)
}

/// Debian installs the jar a second time, under a name with its version.
fn zookeeper_version() -> Option<String> {
    let jars = std::fs::read_dir(Path::new(ZOOKEEPER_JAR).parent()?).ok()?;
    jars.flatten().find_map(|jar| {
        let name = jar.file_name().into_string().ok()?;
        let version = name.strip_prefix("zookeeper-")?.strip_suffix(".jar")?;
        version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
    })
}
