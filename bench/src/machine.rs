//! What the figures were taken on.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::kind::Family;
use crate::server::{Site, ZOOKEEPER_JAR, program};

/// The machine and the versions of what runs on it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) versions: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look(site: &Site) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib: u64 = field(&meminfo, "MemTotal:")
            .and_then(|text| text.trim_end_matches("kB").trim().parse().ok())
            .unwrap_or_default();
        let versions = [
            ("raceproof", version(site, Family::Raceproof, &["--version"])),
            ("etcd", version(site, Family::Etcd, &["--version"])),
            ("redis", version(site, Family::Redis, &["--version"])),
            ("postgres", version(site, Family::Postgres, &["--version"])),
            ("zookeeper", zookeeper_version()),
            ("java", version(site, Family::Zookeeper, &["--version"])),
        ];
        Self {
            cpu: field(&cpuinfo, "model name").unwrap_or_default().trim_start_matches([':', ' ']).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gib: memory_kib.div_ceil(1 << 20),
            kernel: first_line(Path::new("uname"), &["-sr"]).unwrap_or_default(),
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

/// The load of the last minute: what else the machine was doing.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
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

fn first_line(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
