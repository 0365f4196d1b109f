//! The servers: each family's program, its settings and its data, on a free loopback port.
//!
//! Settings are those that a careful user of the system would choose; `docs/benchmarks.md` lists and defends them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::kind::{Family, Kind};
use crate::process::{Process, Spec, Usage};
use crate::systems::{self, Options};

/// Where programs are and where data goes.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Where each server gets a directory of its own.
    pub(crate) data: PathBuf,
    /// The program `raceproof`.
    pub(crate) raceproof: PathBuf,
}

/// What a server has to be ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// A hundred connections.
    Usual,
    /// A thousand connections and a hundred thousand locks.
    ManySessions,
    /// A long run, after which the size of the data is looked at.
    Long,
}

/// A server with an empty store, running.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) family: Family,
    pub(crate) addr: SocketAddr,
    // Before `dir`, so that the process has ended when its directory goes.
    process: Process,
    dir: TempDir,
}

impl Server {
    /// Starts the server and waits until it grants a lock.
    pub(crate) async fn start(site: &Site, family: Family, load: Load) -> Result<Self> {
        let mut server = Prepared::new(site, family, load)?.spawn()?;
        server.first_grant(probe_kind(family)).await?;
        Ok(server)
    }

    /// Asks for a lock until it is granted: the moment from which the server serves.
    pub(crate) async fn first_grant(&mut self, kind: Kind) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let attempt = async {
                let mut client = systems::connect(kind, self.addr, &Options::default()).await?;
                client.acquire("first").await?;
                client.release("first").await?;
                client.close().await
            };
            let error = match tokio::time::timeout(Duration::from_secs(5), attempt).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(elapsed) => elapsed.into(),
            };
            self.process.check_alive().with_context(|| self.log_tail())?;
            if Instant::now() >= deadline {
                return Err(error.context(self.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) fn data_mib(&self) -> f64 {
        crate::process::disk_mib(&self.dir.path().join("data"))
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(5);
        format!(
            "{:?} on {}; its last words: {}",
            self.family,
            self.addr,
            lines.get(from..).unwrap_or_default().join(" | ")
        )
    }
}

/// A server whose data directory and settings are made, and that has not been started.
#[derive(Debug)]
pub(crate) struct Prepared {
    family: Family,
    addr: SocketAddr,
    dir: TempDir,
    program: PathBuf,
    args: Vec<String>,
    user: Option<&'static str>,
}

impl Prepared {
    pub(crate) fn new(site: &Site, family: Family, load: Load) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("{family:?}-").to_lowercase()).tempdir_in(&site.data)?;
        // PostgreSQL runs as its own user and has to get through.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode)?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let port = free_port()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let program = program(site, family)?;
        let (args, user) = match family {
            Family::Raceproof => (raceproof_args(addr, &data), None),
            Family::Etcd => (etcd_args(addr, free_port()?, &data, load), None),
            Family::Redis => (redis_args(port, &data), None),
            Family::Postgres => {
                let user = postgres_user();
                postgres_init(&program, &data, user)?;
                (postgres_args(port, &data, load), user)
            }
            Family::Zookeeper => (zookeeper_args(port, dir.path(), &data)?, None),
        };
        Ok(Self { family, addr, dir, program, args, user })
    }

    pub(crate) fn spawn(self) -> Result<Server> {
        let log = self.dir.path().join("log");
        let stop = if self.family == Family::Postgres { Signal::QUIT } else { Signal::KILL };
        let spec = Spec { program: &self.program, args: self.args, log: &log, user: self.user, stop };
        let process = Process::spawn(&spec)?;
        Ok(Server { family: self.family, addr: self.addr, process, dir: self.dir })
    }
}

/// The kind by which a family is asked whether it serves.
pub(crate) const fn probe_kind(family: Family) -> Kind {
    match family {
        Family::Raceproof => Kind::Durable,
        Family::Etcd => Kind::Etcd,
        Family::Redis => Kind::Redis,
        Family::Postgres => Kind::PgLease,
        Family::Zookeeper => Kind::Zookeeper,
    }
}

/// The program of a family, or why there is none.
pub(crate) fn program(site: &Site, family: Family) -> Result<PathBuf> {
    let found = match family {
        Family::Raceproof => {
            ensure!(site.raceproof.is_file(), "{} is not built", site.raceproof.display());
            Some(site.raceproof.clone())
        }
        Family::Etcd => in_path("etcd"),
        Family::Redis => in_path("redis-server"),
        // It looks for its libraries beside the real program.
        Family::Postgres => match in_path("postgres") {
            Some(program) => Some(program.canonicalize()?),
            None => newest_postgres(),
        },
        Family::Zookeeper => {
            ensure!(Path::new(ZOOKEEPER_JAR).is_file(), "{ZOOKEEPER_JAR} is missing (Debian: zookeeper)");
            in_path("java")
        }
    };
    found.with_context(|| format!("the server of {family:?} is not installed"))
}

pub(crate) const ZOOKEEPER_JAR: &str = "/usr/share/java/zookeeper.jar";

fn in_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

fn newest_postgres() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    versions.into_iter().rev().map(|dir| dir.join("bin/postgres")).find(|path| path.is_file())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn raceproof_args(addr: SocketAddr, data: &Path) -> Vec<String> {
    vec!["serve".into(), "--listen".into(), addr.to_string(), "--data".into(), data.display().to_string()]
}

fn etcd_args(addr: SocketAddr, peer_port: u16, data: &Path, load: Load) -> Vec<String> {
    let client = format!("http://{addr}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut args: Vec<String> = vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--logger=zap".into(),
        "--log-level=error".into(),
        "--quota-backend-bytes=8589934592".into(),
    ];
    if load == Load::Long {
        // Without it nothing of the past is ever given up.
        args.extend(["--auto-compaction-mode=periodic".into(), "--auto-compaction-retention=1m".into()]);
    }
    args
}

fn redis_args(port: u16, data: &Path) -> Vec<String> {
    let port = port.to_string();
    let dir = data.display().to_string();
    let settings = [
        ("--port", port.as_str()),
        ("--bind", "127.0.0.1"),
        ("--dir", &dir),
        ("--appendonly", "yes"),
        ("--appendfsync", "always"),
        ("--save", ""),
    ];
    settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect()
}

fn postgres_user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("postgres")
}

fn postgres_init(program: &Path, data: &Path, user: Option<&'static str>) -> Result<()> {
    let initdb = program.with_file_name("initdb");
    let mut command = match user {
        Some(user) => {
            let chown = Command::new("chown").arg(user).arg(data).status()?;
            ensure!(chown.success(), "chown {user} {}", data.display());
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(initdb);
            command
        }
        None => Command::new(initdb),
    };
    command.arg("-D").arg(data).args(["-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    let output = command.current_dir("/").output()?;
    if !output.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn postgres_args(port: u16, data: &Path, load: Load) -> Vec<String> {
    let many = load == Load::ManySessions;
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={}", if many { 1_200 } else { 200 }),
        format!("max_locks_per_transaction={}", if many { 128 } else { 64 }),
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
    ];
    let mut args = vec!["-D".to_owned(), data.display().to_string(), "-p".to_owned(), port.to_string()];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    args
}

fn zookeeper_args(port: u16, dir: &Path, data: &Path) -> Result<Vec<String>> {
    let config = dir.join("zoo.cfg");
    let text = format!(
        "tickTime=1000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
         maxClientCnxns=0\nmaxSessionTimeout=60000\nadmin.enableServer=false\n",
        data.display()
    );
    std::fs::write(&config, text)?;
    let classpath = format!("{ZOOKEEPER_JAR}:/usr/share/java/slf4j-simple.jar");
    Ok(vec![
        "-Xmx1g".into(),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into(),
        "-Dzookeeper.jmx.log4j.disable=true".into(),
        "-cp".into(),
        classpath,
        "org.apache.zookeeper.server.ZooKeeperServerMain".into(),
        config.display().to_string(),
    ])
}
